package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

const (
	keepPause    = 2 * time.Second  // between looks at who holds etcd when nothing tells of a change
	stepPatience = 10 * time.Second // with one step
)

// keepMembers has as many members as there shall be, one step at a time (C10), as long
// as this node's member leads.
func (r *Records) keepMembers(ctx context.Context, e *etcd) error {
	feed := r.Follow()
	defer feed.Close()
	defer r.setLeads(false)
	said := ""
	for {
		leads := e.server.Leader() == e.server.MemberID()
		r.setLeads(leads)
		if leads && e.handler != nil {
			if err := r.keepOnce(ctx, e); err != nil && ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				r.cfg.Log.Info("who holds etcd could not be changed yet; trying again", "error", err)
			}
		}
		timer := time.NewTimer(keepPause)
		select {
		case <-feed.Ready():
			feed.Take()
		case <-e.server.LeaderChangedNotify():
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

func (r *Records) setLeads(leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leads = leads
}

// keepOnce takes one step, and tells everybody who holds etcd.
func (r *Records) keepOnce(ctx context.Context, e *etcd) error {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if step := NextStep(r.membersView(e)); step.Kind != StepNone {
		if err := e.take(ctx, step); err != nil {
			return fmt.Errorf("%s node %s (%s): %w", step.Kind, step.Node, step.Why, err)
		}
		r.cfg.Log.Info("who holds etcd was changed", "step", step.Kind.String(), "node", string(step.Node), "why", step.Why)
	}
	return r.publishMembers(ctx, e)
}

// membersView is what there is to decide on.
func (r *Records) membersView(e *etcd) MembersView {
	v := MembersView{Members: e.members(r.cfg.Node), Leader: uint64(e.server.Leader()), Most: r.cfg.Most}
	now := time.Now()
	for _, n := range r.Nodes() {
		s, _ := r.sessions.judge(n.Name, now)
		own := n.Name == r.cfg.Node
		v.Nodes = append(v.Nodes, NodeState{
			Name: n.Name, Address: n.Address, Draining: n.Draining,
			Alive: own || s.Number != 0 && !s.Over,
			Gone:  !own && s.Over && s.Quiet >= r.cfg.GiveUp,
		})
	}
	return v
}

// members are the members as this one knows them, without asking anybody.
func (e *etcd) members(own ballast.NodeID) []Member {
	var members []Member
	for _, m := range e.server.Cluster().Members() {
		made := newMember(uint64(m.ID), m.Name, m.PeerURLs, m.IsLearner)
		if m.ID == e.server.MemberID() {
			made.Node = own // a member on its own has another name
		}
		members = append(members, made)
	}
	sortMembers(members)
	return members
}

// take carries out a step.
func (e *etcd) take(ctx context.Context, s Step) error {
	var err error
	switch s.Kind {
	case StepNone:
	case StepUpdate:
		_, err = e.client.MemberUpdate(ctx, s.Member, []string{s.URL})
	case StepAdd:
		_, err = e.client.MemberAddAsLearner(ctx, []string{s.URL})
	case StepPromote:
		_, err = e.client.MemberPromote(ctx, s.Member)
	case StepRemove:
		_, err = e.client.MemberRemove(ctx, s.Member)
	case StepTransfer:
		err = e.server.MoveLeader(ctx, uint64(e.server.MemberID()), s.Member)
	}
	return err
}

// publishMembers writes down who holds etcd when that is news, so that clients and
// who is to be a member hear of it.
func (r *Records) publishMembers(ctx context.Context, e *etcd) error {
	members := e.members(r.cfg.Node)
	if slices.Equal(members, r.view.allMembers()) {
		return nil
	}
	data, err := json.Marshal(members)
	if err != nil {
		return err
	}
	_, _, err = etcdKeys{e.client}.swap(ctx, nil, []item{{key: membersKey, value: data}})
	if err != nil {
		return fmt.Errorf("write down who holds etcd: %w", err)
	}
	r.view.setMembers(members)
	return nil
}
