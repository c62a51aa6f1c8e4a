package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// way is how this node becomes a volume's writer.
type way int

const (
	wayOwn    way = iota // with the copy that is here, or the first one of all
	wayHollow            // with an empty copy, which fills in from one in sync on another node
	wayEmpty             // with nothing, as its class allows, or because nothing was ever written
)

// chooseWay decides from what the record says; here says that files of the volume are.
func chooseWay(rec cluster.Record, node ballast.NodeID, here bool) way {
	switch {
	case rec.Spec.Class == ballast.Scratch:
		return wayEmpty
	case len(rec.InSync) == 0:
		return wayOwn
	case !rec.Formatted && (!here || !slices.Contains(rec.InSync, node)):
		return wayEmpty // the node of the first attach died before there was a filesystem
	case !slices.Contains(rec.InSync, node):
		return wayHollow
	case !here && len(rec.InSync) > 1:
		return wayHollow // this node's disk is a new one
	}
	return wayOwn
}

func (w way) request(floor ballast.Epoch) cluster.ClaimRequest {
	return cluster.ClaimRequest{Floor: floor, Hollow: w == wayHollow, Empty: w == wayEmpty}
}

// claimReserve is what is left for attaching of the time in which a holder is waited for.
const claimReserve = 10 * time.Second

// claim makes this node the volume's writer under a new epoch, as soon as nobody else can be
// it. It returns the session that the node had before. Who holds the volume is waited for
// within ctx, and named in the error.
func (n *node) claim(ctx context.Context, s *slot) (rec cluster.Record, w way, session uint64, err error) {
	wait, cancel := context.WithCancel(ctx)
	if end, ok := ctx.Deadline(); ok && time.Until(end) > 2*claimReserve {
		wait, cancel = context.WithDeadline(ctx, end.Add(-claimReserve))
	}
	defer cancel()
	if rec, err = n.records.ByID(s.id); err != nil {
		return rec, w, 0, err
	}
	w = n.wayOf(s, rec)
	var quiet silence
	for again := true; ; {
		if session, err = n.awaitSession(wait, s); err != nil {
			return rec, w, 0, err
		}
		if w == wayOwn {
			if err := n.ensureFiles(s, rec); err != nil { // before the epoch is spent
				return rec, w, 0, err
			}
		}
		claimed, err := n.claimAs(ctx, s, rec, w)
		held, isHeld := errors.AsType[*cluster.HeldError](err)
		switch {
		case err == nil:
			return claimed, w, session, n.noteClaim(s, rec, claimed)
		case isHeld:
			s.setProcessing("waiting for node " + string(held.Node) + " to let go")
			n.do(func(ctx context.Context) { n.askToYield(ctx, cluster.Record{Name: held.Volume, Primary: held.Node}) })
			if err := n.records.AwaitRelease(wait, s.id); err != nil {
				return rec, w, 0, err
			}
			s.setProcessing("attaching")
		case errors.Is(err, ballast.ErrNoCopy) && w == wayHollow && rec.Spec.Class == ballast.Cache:
			w = wayEmpty
			continue
		case errors.Is(err, errFilling) && pauseIn(wait, fillingPause):
			s.setProcessing("waiting for the copy on another node to have everything from the archive")
		case errors.Is(err, ballast.ErrNoCopy) && again: // what this node knew of the record was old
			again = false
		case n.mayPass(err) && !quiet.lasts(s.mayWait()) && pauseIn(wait, claimPause):
		default:
			return rec, w, 0, n.explainNoCopy(rec, err)
		}
		read, readErr := n.records.Read(ctx, s.id)
		switch {
		case readErr == nil:
			rec, w = read, n.wayOf(s, read)
			quiet.heard()
		case !n.mayPass(readErr) || quiet.lasts(s.mayWait()) || !pauseIn(wait, claimPause):
			return rec, w, 0, firstUnknown(err, readErr)
		}
	}
}

// firstUnknown returns the error that says the most: that nobody knows whether something was
// changed, else the last.
func firstUnknown(before, last error) error {
	if errors.Is(before, ballast.ErrUnknown) {
		return before
	}
	return last
}

// claimAs claims a volume in a way. A hollow copy needs one that is in sync and whole: the claim
// may take the only other one out of the in-sync set, so one says first that it is.
func (n *node) claimAs(ctx context.Context, s *slot, rec cluster.Record, w way) (cluster.Record, error) {
	mine := rec.Primary == "" || rec.Primary == n.cfg.Node || n.records.Session(rec.Primary).Over
	if w == wayHollow && mine {
		if err := n.findWhole(ctx, rec); err != nil {
			return rec, err
		}
	}
	req := w.request(s.remembered().Epoch)
	req.Stands = n.stands(s.id)
	return n.records.Claim(ctx, s.id, req)
}

// stands says where the copy here stands, if somebody has it open who can say so at once: in what
// matters, a failover, whoever followed has.
func (n *node) stands(id ballast.VolumeID) replica.State {
	for _, c := range n.following.Copies() {
		if c.Volume == id && c.Complete {
			return replica.State{Lineage: c.Lineage, Last: c.Durable, Applied: c.Applied, Complete: true}
		}
	}
	return replica.State{}
}

// findWhole asks the in-sync copies on other nodes, side by side, until one is whole.
func (n *node) findWhole(ctx context.Context, rec cluster.Record) error {
	ctx, cancel := context.WithTimeout(ctx, prepareBudget)
	defer cancel()
	var errs error
	for {
		others := slices.DeleteFunc(slices.Clone(rec.InSync), func(o ballast.NodeID) bool { return o == n.cfg.Node })
		answers := make(chan error, len(others))
		for _, other := range others {
			go func() { answers <- n.isWhole(ctx, other, rec.ID) }() // ends with ctx
		}
		errs = nil
		for range others {
			err := <-answers
			if err == nil {
				return nil
			}
			errs = errors.Join(errs, err)
		}
		if !pauseIn(ctx, preparePause) {
			return fmt.Errorf("none of the copies that have every acknowledged write can be reached and is whole; nothing was changed; start their nodes: %w: %w", ballast.ErrNoCopy, errs)
		}
	}
}

// errFilling says that a copy has everything that was written to it, and not all that it was made of.
var errFilling = errors.New("its copy still gets chunks from the archive, and can be attached there; it can be attached elsewhere when it has all")

// fillingPause is how often such a copy is looked at.
const fillingPause = time.Second

// isWhole returns nil when the copy on another node lacks nothing.
func (n *node) isWhole(ctx context.Context, other ballast.NodeID, id ballast.VolumeID) error {
	st, err := n.peers.Copy(ctx, other, id)
	switch {
	case err != nil:
		return fmt.Errorf("node %s: %w", other, err)
	case !st.Here:
		return fmt.Errorf("node %s: its files are not there", other)
	case st.Err != "":
		return fmt.Errorf("node %s: %s", other, st.Err)
	case !st.State.Complete:
		return fmt.Errorf("node %s: %w", other, errFilling)
	}
	return nil
}

// claimPause is how soon a claim is tried again that etcd has not answered.
const claimPause = 100 * time.Millisecond

// mayPass reports whether a failure is one of etcd's that passes: the node that led it may be
// the one whose volume is claimed. A node on its own has no other to wait for.
func (n *node) mayPass(err error) bool {
	for _, lasting := range []error{ballast.ErrNotFound, ballast.ErrInvalid, ballast.ErrExists, ballast.ErrInUse, ballast.ErrNoCopy, ballast.ErrTooFewCopies} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return len(n.records.Nodes()) > 1
}

// pauseIn waits for a while and reports whether ctx goes on.
func pauseIn(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (n *node) wayOf(s *slot, rec cluster.Record) way {
	return chooseWay(rec, n.cfg.Node, n.hasFiles(s))
}

// explainNoCopy says what can be done where nothing that counts can be reached.
func (n *node) explainNoCopy(rec cluster.Record, err error) error {
	if !errors.Is(err, ballast.ErrNoCopy) {
		return err
	}
	return fmt.Errorf("%w; `ballast volume failover %s` shows which other copies there are, and what going on from one would lose", err, rec.Name)
}

// awaitSession waits until the node has a session, if it must have one: what it claims
// without one, no lease confirms.
func (n *node) awaitSession(ctx context.Context, s *slot) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.mayWait())
	defer cancel()
	for {
		if len(n.records.Nodes()) <= 1 {
			return n.session.current(), nil
		}
		if number := n.session.standing(); number != 0 {
			return number, nil
		}
		select {
		case <-time.After(sessionRetry / 10):
		case <-ctx.Done():
			return 0, n.noSession()
		}
	}
}

// noSession says why there is none.
func (n *node) noSession() error {
	why := n.recordsSilent()
	if why == nil {
		why = errSilent
	}
	return fmt.Errorf("this node has no session in the cluster yet: %w; nothing was changed; see `ballast status`: %w", why, ballast.ErrNotReady)
}

// noteClaim remembers a claim on disk, before anything happens under it; before is the record as it
// was known when the claim was made.
func (n *node) noteClaim(s *slot, before, rec cluster.Record) error {
	if err := n.disk.Mkdir(s.dir); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	state := s.remembered()
	if rec.Epoch > state.Epoch+1 {
		// Another node may have had the volume since: what this one remembers of the archive
		// is old, and is looked up there.
		if err := archiver.ForgetState(n.disk, s.dir); err != nil {
			return err
		}
	}
	if before.Epoch != state.Epoch || rec.Epoch != before.Epoch+1 || state.Since == 0 {
		state.Since = rec.Epoch // somebody else may have led it in between
	}
	// Holds of an engine that died are void (A8).
	state.Epoch, state.Holders = rec.Epoch, nil
	return n.remember(s, state)
}

// makeFiles makes this node's copy what the claim says it is. No follower has the files open
// any more, and none will (A19).
func (n *node) makeFiles(ctx context.Context, s *slot, rec cluster.Record, w way) error {
	if err := n.following.Take(ctx, s.id, rec.Epoch); err != nil {
		return fmt.Errorf("take the copy here out of the hands of its former writer: %w", err)
	}
	switch w {
	case wayHollow:
		if n.goesOnFilling(s) {
			n.log.Info("going on from the copy that was filling in here", "volume", rec.Name, "volume_id", rec.ID)
			return nil
		}
		return n.fillFromPeer(ctx, s, rec)
	case wayEmpty:
		if err := n.wipe(s); err != nil {
			return err
		}
		return n.ensureFiles(s, cluster.Record{ID: rec.ID, Name: rec.Name, Spec: rec.Spec}) // of a volume that never was in use
	case wayOwn:
	}
	return nil
}
