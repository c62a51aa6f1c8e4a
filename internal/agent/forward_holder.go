package agent

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/cluster"
)

// What is done with a volume that is attached is done by the node that has it: nobody else has its
// engine, its mount, its holds, or what is not in the archive yet. Whoever is asked passes it on.

// errHolderAway says that nobody can do it now.
func errHolderAway(rec cluster.Record, at ballast.NodeID) error {
	return fmt.Errorf("volume %q is attached on node %s, which is away; nothing was changed; type it again when that node is back, or when `ballast volume attach %s` has attached the volume on another node: %w",
		rec.Name, at, rec.Name, ballast.ErrNotReady)
}

// heldAt returns a volume and the other node that has it attached, "" when there is none, and
// whether that one is away. Nothing is said of a volume that is not known: this node says why.
func (n *node) heldAt(ctx context.Context, nameOrID string) (rec cluster.Record, at ballast.NodeID, away bool) {
	rec, err := n.findEvenRemoved(nameOrID)
	if err != nil {
		return rec, "", false
	}
	at, ok := n.holder(ctx, rec)
	if !ok {
		return rec, "", false
	}
	return rec, at, n.records.Session(at).Over
}

// doneBy returns the other node that has to do what is asked of a volume; "": this one does.
func (n *node) doneBy(ctx context.Context, nameOrID string) (ballast.NodeID, error) {
	rec, at, away := n.heldAt(ctx, nameOrID)
	if away {
		return "", errHolderAway(rec, at)
	}
	return at, nil
}

// refuseElsewhere says of a volume where it is attached, when that is not here: to end a hold there
// must be asked for, and to end none must not look as if it had been done.
func (n *node) refuseElsewhere(ctx context.Context, name, holder string) error {
	rec, err := n.records.Get(name)
	if err != nil || rec.Primary == "" || rec.Primary == n.cfg.Node || holder == tendHolder || isForwarded(ctx) {
		return nil //nolint:nilerr // who detaches it says why
	}
	if s := n.peek(rec.ID); s != nil && (s.current() != nil || len(s.remembered().Holders) > 0) {
		return nil // what was here before is not taken down yet
	}
	return fmt.Errorf("volume %q is not attached on this node but on %s; nothing was changed; type `ballast volume detach %s --node %s` to end a hold there: %w",
		rec.Name, rec.Primary, rec.Name, rec.Primary, ballast.ErrInUse)
}

// readBy is doneBy for what needs the content of a volume: of one that nobody has attached, a
// node whose copy has it.
func (n *node) readBy(ctx context.Context, nameOrID string) (ballast.NodeID, error) {
	rec, at, away := n.heldAt(ctx, nameOrID)
	switch {
	case away:
		return "", errHolderAway(rec, at)
	case at != "" || rec.Primary != "" || rec.InTrash() || isForwarded(ctx):
		return at, nil
	}
	return n.firstInSync(rec), nil
}

// restoredBy returns the node that restores a volume: in place, who has it attached; and as of
// now, who can bring into the archive what is not there yet. Where that one is away the
// archive has what there is.
func (n *node) restoredBy(ctx context.Context, nameOrID string, m moment, inPlace bool) (ballast.NodeID, error) {
	rec, at, away := n.heldAt(ctx, nameOrID)
	switch {
	case away && inPlace:
		return "", errHolderAway(rec, at)
	case away, !inPlace && !m.isNewest():
		return "", nil
	}
	return at, nil
}

// nowOf has the node that has a volume bring what it has into the archive, and returns that point as a moment.
// It reports false where the archive of this node does not have the same: then the other one has to go on from it.
// Else what is made of it is made here, where it was asked for and is mostly used.
func (n *node) nowOf(ctx context.Context, at ballast.NodeID, name, as string) (m moment, here bool, err error) {
	resp, err := n.volumesAt(at).RestoreAt(ctx, connect.NewRequest(&v1.RestoreAtRequest{Name: name, As: as, DryRun: true}))
	if err != nil {
		return m, false, passedOn(at, err)
	}
	rec, o, err := n.archived(ctx, name)
	if err != nil {
		return m, false, nil //nolint:nilerr // the other node has an archive
	}
	point := resp.Msg.GetPoint()
	m.at = point.GetTime().AsTime()
	plan, err := o.Archive.Plan(ctx, rec.ID, archive.When{Time: m.at})
	here = err == nil && uint64(plan.Point.LSN) == point.GetLsn() && uint64(plan.Point.Epoch) == point.GetEpoch()
	return m, here, nil
}

// createFromAt has another node make a volume of one that is attached there.
func (n *node) createFromAt(ctx context.Context, at ballast.NodeID, name string, options map[string]string) (volumeView, error) {
	resp, err := n.volumesAt(at).Create(ctx, connect.NewRequest(&v1.CreateRequest{Name: name, Options: options}))
	if err != nil {
		return volumeView{}, passedOn(at, err)
	}
	rec, err := n.records.Read(ctx, ballast.VolumeID(resp.Msg.GetVolume().GetId()))
	if err != nil {
		return volumeView{}, err
	}
	return n.look(rec), nil
}

// firstInSync returns the first node that is there and whose copy counts; "": this node's
// own does, or none that is there.
func (n *node) firstInSync(rec cluster.Record) (first ballast.NodeID) {
	for _, node := range rec.InSync {
		if node == n.cfg.Node {
			return ""
		}
		if first == "" && !n.records.Session(node).Over {
			first = node
		}
	}
	return first
}

// passOn has another node answer a call.
func passOn[Q, R any](ctx context.Context, at ballast.NodeID, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), m *Q) (*connect.Response[R], error) {
	resp, err := call(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, passedOn(at, err)
	}
	return connect.NewResponse(resp.Msg), nil
}

// passOnStream has another node answer a call piece by piece.
func passOnStream[Q, R any](ctx context.Context, at ballast.NodeID, call func(context.Context, *connect.Request[Q]) (*connect.ServerStreamForClient[R], error), m *Q, out *connect.ServerStream[R]) error {
	in, err := call(ctx, connect.NewRequest(m))
	if err != nil {
		return passedOn(at, err)
	}
	for in.Receive() {
		if err := out.Send(in.Msg()); err != nil {
			_ = in.Close() // nobody waits for the rest
			return err
		}
	}
	if err := in.Err(); err != nil {
		_ = in.Close() // it has failed
		return passedOn(at, err)
	}
	return in.Close()
}

// passedOn is what another node said, or that it said nothing.
func passedOn(at ballast.NodeID, err error) error {
	said, ok := errors.AsType[*connect.Error](err)
	if !ok || connect.IsWireError(err) {
		return err
	}
	return connect.NewError(said.Code(), fmt.Errorf("node %s, which has to do it, does not answer, and may have done it or not; see `ballast node ls`, and type it again: %s", at, said.Message()))
}

// verifyElsewhere has the node verify a volume that has it attached. One that does not answer
// is a result as well: the other volumes are verified all the same.
func (n *node) verifyElsewhere(ctx context.Context, at ballast.NodeID, rec cluster.Record, command string, tell func(*v1.VerifyResponse) error) error {
	failed := func(err error) error {
		return tell(&v1.VerifyResponse{Result: &v1.VerifyResult{Name: rec.Name, Error: fmt.Sprintf("node %s, which has it attached: %v", at, err)}})
	}
	in, err := n.volumesAt(at).Verify(ctx, connect.NewRequest(&v1.VerifyRequest{Name: rec.Name, Command: command}))
	if err != nil {
		return failed(err)
	}
	defer in.Close() // everything was read, or nobody waits for it
	for in.Receive() {
		if err := tell(in.Msg()); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil && ctx.Err() == nil {
		return failed(err)
	}
	return ctx.Err()
}
