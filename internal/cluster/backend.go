package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	// errSwitch ends one way of being there for another.
	errSwitch = errors.New("this node changes how it reaches the records")
	// errStopped says that a member ended by itself.
	errStopped = errors.New("etcd stopped")
	// errRemoved says that this node is no member any more.
	errRemoved = errors.New("this node holds etcd no more")
)

// run is what this node is to the records, one thing after the other, until ctx ends.
func (r *Records) run(ctx context.Context) error {
	var begun *etcd // a member that was started while this node was a client
	for {
		if err := r.whyGivenUp(); err != nil {
			if begun != nil {
				err = errors.Join(err, begun.stop(ctx))
			}
			return err
		}
		var err error
		switch r.mode() {
		case member:
			err = r.runMember(ctx, begun)
			begun = nil
		case client:
			begun, err = r.runClient(ctx)
		case stranger:
			err = r.runStranger(ctx)
		}
		switch {
		case errors.Is(err, errSwitch):
		case errors.Is(err, errRemoved):
			if err := r.setAside(); err != nil {
				return err
			}
			r.cfg.Log.Info("this node holds etcd no more and asks the others; what it had was set aside")
		default:
			if begun != nil {
				err = errors.Join(err, begun.stop(ctx))
			}
			return err
		}
	}
}

// runMember holds etcd; begun is nil unless the member was started already.
func (r *Records) runMember(ctx context.Context, e *etcd) (err error) {
	p := r.currentPeering()
	if e == nil {
		p = r.takePeering()
		if e, err = r.startMember(ctx, p); err != nil {
			return err
		}
	}
	r.serve(e.handler)
	defer func() {
		r.serve(nil)
		r.setKeys(nil, whyAway(err))
		err = errors.Join(err, e.stop(ctx))
	}()
	if err := r.awaitMember(ctx, e); err != nil {
		return r.explainStop(ctx, e, p, err)
	}
	err = r.follow(ctx, etcdKeys{e.client}, e.watchDeath, r.watchSwitch, func(ctx context.Context) error { return r.keepMembers(ctx, e) })
	return r.explainStop(ctx, e, p, err)
}

// explainStop finds out whether a member that ended by itself was removed while it was
// away: the others know.
func (r *Records) explainStop(ctx context.Context, e *etcd, p *Peering, err error) error {
	if !errors.Is(err, errStopped) || e.handler == nil {
		return err
	}
	if e.server.IsIDRemoved(uint64(e.server.MemberID())) {
		return errRemoved
	}
	info := p.tls()
	config, tlsErr := info.ClientConfig()
	if tlsErr != nil {
		return errors.Join(err, tlsErr)
	}
	members := r.askEverybody(ctx, config, p)
	own := func(m Member) bool { return m.ID == uint64(e.server.MemberID()) }
	switch {
	case len(members) == 0:
		// Only a member that heard of its removal ends by itself, and who would know is
		// not reached. It is started again, and ends again until it is known.
		r.cfg.Log.Warn("this node's member of etcd ended, and nobody can say whether it was removed; trying again")
		return pauseThenSwitch(ctx)
	case !slices.ContainsFunc(members, own):
		return errRemoved
	}
	return err
}

func pauseThenSwitch(ctx context.Context) error {
	timer := time.NewTimer(attendPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return errSwitch
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whyAway is nil for what is over in a moment.
func whyAway(err error) error {
	if errors.Is(err, errSwitch) || errors.Is(err, errRemoved) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (r *Records) serve(h *memberHandler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving = h
}

func (r *Records) startMember(ctx context.Context, p *Peering) (*etcd, error) {
	if p == nil || !r.hasData() {
		if err := r.refuseForgotten(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for the records: %w", err)
	}
	r.mu.Lock()
	force := r.force
	r.force = false
	r.mu.Unlock()
	if force {
		if err := r.refuseForce(ctx, p); err != nil {
			return nil, err
		}
	}
	e, err := startEtcd(ctx, memberSpec{dir: r.cfg.Dir, node: r.cfg.Node, peering: p, force: force}, r.cfg.Log)
	if err != nil {
		return nil, explainStart(r.cfg.Dir, err)
	}
	return e, nil
}

// awaitMember waits until the member can be asked. Meanwhile it may turn out that it
// was removed, or is to be another.
func (r *Records) awaitMember(ctx context.Context, e *etcd) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.watchSwitch(ctx); errors.Is(err, errSwitch) {
			cancel(err)
		}
	}()
	err := e.waitReady(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSwitch) {
		err = cause
	}
	cancel(nil)
	<-done
	if err != nil && !errors.Is(err, errSwitch) {
		return explainStart(r.cfg.Dir, err)
	}
	return err
}

// watchSwitch ends when how nodes reach each other was changed.
func (r *Records) watchSwitch(ctx context.Context) error {
	select {
	case <-r.switched:
		return errSwitch
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watchDeath ends when the member does.
func (e *etcd) watchDeath(ctx context.Context) error {
	select {
	case err := <-e.died:
		return err
	case <-e.server.StopNotify():
		return fmt.Errorf("%w: %w", errStopped, errBroken)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runClient asks the members, until this node is to be one: what it returns then has
// been started.
func (r *Records) runClient(ctx context.Context) (begun *etcd, err error) {
	p := r.takePeering()
	info := p.tls()
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reach the members of etcd: %w", err)
	}
	link, err := newLink(r.addresses(p), config)
	if err != nil {
		return nil, err
	}
	defer func() {
		r.setKeys(nil, whyAway(err))
		err = errors.Join(err, closeLink(link))
	}()
	err = r.follow(ctx, etcdKeys{link}, r.watchSwitch, func(ctx context.Context) (err error) {
		begun, err = r.attend(ctx, link, config, p)
		return err
	})
	return begun, err
}

// runStranger asks an etcd that is not ours.
func (r *Records) runStranger(ctx context.Context) (err error) {
	config, err := r.cfg.External.tlsConfig()
	if err != nil {
		return fmt.Errorf("reach etcd: %w", err)
	}
	link, err := newLink(r.cfg.External.Endpoints, config)
	if err != nil {
		return err
	}
	defer func() {
		r.setKeys(nil, whyAway(err))
		err = errors.Join(err, closeLink(link))
	}()
	return r.follow(ctx, strangerKeys{etcdKeys{link}, r})
}

// attendPause is how often a client looks at who holds etcd when nothing tells it.
const attendPause = 2 * time.Second

// attend keeps a client's addresses true to who holds etcd, until this node is to.
func (r *Records) attend(ctx context.Context, link *clientv3.Client, config *tls.Config, p *Peering) (*etcd, error) {
	feed := r.Follow()
	defer feed.Close()
	failed := 0
	for {
		urls := r.addresses(p)
		if ready, _ := r.Ready(); !ready {
			if failed++; failed%3 == 0 { // nobody of those answers: ask everybody
				urls = r.findMembers(ctx, config, p)
			}
		} else {
			failed = 0
		}
		if len(urls) > 0 && !slices.Equal(urls, link.Endpoints()) {
			link.SetEndpoints(urls...)
		}
		if own, ok := r.ownMember(p); ok && failed == 0 {
			if e, err := r.becomeMember(ctx, link, p, own); e != nil || err != nil {
				return e, err
			}
		}
		timer := time.NewTimer(attendPause)
		select {
		case <-feed.Ready():
			feed.Take()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

// findMembers asks every node that is known who holds etcd, and returns where.
func (r *Records) findMembers(ctx context.Context, config *tls.Config, p *Peering) []string {
	if members := r.askEverybody(ctx, config, p); len(members) > 0 {
		r.view.setMembers(members)
		return r.addresses(p)
	}
	return r.everywhere(p)
}

// askEverybody asks one node after the other who holds etcd; nil: nobody answers.
func (r *Records) askEverybody(ctx context.Context, config *tls.Config, p *Peering) []Member {
	for _, url := range r.everywhere(p) {
		link, err := newLink([]string{url}, config)
		if err != nil {
			continue
		}
		members, err := membersAt(ctx, link)
		_ = link.Close() // it was asked one question
		if err == nil && len(members) > 0 {
			return members
		}
	}
	return nil
}

// ownMember returns the member that this node is to be, as the others last said.
func (r *Records) ownMember(p *Peering) (Member, bool) {
	for _, m := range r.view.allMembers() {
		if m.Node == r.cfg.Node || m.Node == "" && m.URL == p.url() {
			return m, true
		}
	}
	return Member{}, false
}

// becomeMember starts the member that this node is to be, and returns it when it can be
// asked; errSwitch comes with it. A member that has been there before has lost its
// disk: it is removed, and the others add it anew.
func (r *Records) becomeMember(ctx context.Context, link *clientv3.Client, p *Peering, own Member) (*etcd, error) {
	members, err := membersAt(ctx, link)
	if err != nil {
		r.cfg.Log.Debug("who holds etcd could not be asked", "error", err)
		return nil, nil
	}
	at := slices.IndexFunc(members, func(m Member) bool { return m.ID == own.ID })
	if at < 0 {
		return nil, nil // what was known is old
	}
	if members[at].Started && !r.hasData() {
		r.cfg.Log.Warn("this node held etcd and has lost what it kept; the others go on without, until it has it anew")
		ctx, cancel := context.WithTimeout(ctx, listPatience)
		defer cancel()
		if _, err := link.MemberRemove(ctx, own.ID); err != nil {
			r.cfg.Log.Warn("the member that this node was could not be removed; trying again", "error", err)
		}
		return nil, nil
	}
	members[at].Node = r.cfg.Node
	return r.beginMember(ctx, p, members)
}

// beginMember starts a member, and waits until it has all that the others have. One
// that does not get there goes on with what it has the next time: what a member has
// said that it has, it must never lack.
func (r *Records) beginMember(ctx context.Context, p *Peering, members []Member) (*etcd, error) {
	spec := memberSpec{dir: r.cfg.Dir, node: r.cfg.Node, peering: p}
	if !r.hasData() {
		spec.join = members
		if err := r.setAside(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for the records: %w", err)
	}
	e, err := startEtcd(ctx, spec, r.cfg.Log)
	if err == nil {
		r.serve(e.handler)
		wait, cancel := context.WithTimeout(ctx, startPatience)
		err = r.explainStop(ctx, e, p, e.waitReady(wait))
		cancel()
		if err == nil {
			r.cfg.Log.Info("this node holds etcd from now on")
			return e, errSwitch
		}
		r.serve(nil)
		err = errors.Join(err, e.stop(ctx))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, errRemoved):
		return nil, r.setAside()
	case isBroken(err):
		return nil, err
	}
	r.cfg.Log.Info("this node is to hold etcd and cannot begin yet; trying again", "error", err)
	return nil, nil
}

// Leads reports whether this node's member leads etcd; what the cluster needs done
// once is done there. With an etcd that is not ours nobody does.
func (r *Records) Leads() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leads
}
