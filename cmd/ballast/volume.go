package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolume(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "create, list, grow, move, remove, snapshot and restore volumes",
		Long: `Manage volumes. What Docker can do with a volume it does without these commands:
"docker volume create -d ballast db", "docker volume rm db".`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(
		newVolumeCreate(c),
		newVolumeLs(c),
		newVolumeInspect(c),
		newVolumeResize(c),
		newVolumeRm(c),
		newVolumeRestore(c),
		newVolumeSnapshot(c),
		newVolumeHistory(c),
		newVolumeClone(c),
		newVolumeRetain(c),
		newVolumeAttach(c),
		newVolumeDetach(c),
		newVolumeMove(c),
		newVolumeFailover(c),
	)
	return cmd
}

// ask sends one request to the agent and waits for the answer, at most for limit.
func ask[Req, Res any](ctx context.Context, limit time.Duration,
	call func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req,
) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := call(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// explainName turns the agent's "not found" for a volume into what the user can
// do about it: a name that was probably meant, or the trash.
func (c *cli) explainName(ctx context.Context, name string, err error) error {
	if connect.CodeOf(err) != connect.CodeNotFound {
		return err
	}
	f := &failure{
		code: exitNotFound,
		err:  fmt.Errorf("no such volume %q%s", name, didYouMean(name, c.volumeNames(ctx, false))),
		hint: `try "ballast volume ls"`,
	}
	if v := c.inTrash(ctx, name); v != nil {
		f.err = fmt.Errorf("no such volume %q; it was removed %s", name, ago(c.now(), v.GetRemovedAt().AsTime()))
		f.hint = fmt.Sprintf("get it back with %q", "ballast volume restore "+name)
	}
	return f
}

// explainTrash is explainName for what is looked for in the trash. A volume that is
// not there but exists was probably to be restored to a moment.
func (c *cli) explainTrash(ctx context.Context, name string, err error) error {
	if connect.CodeOf(err) != connect.CodeNotFound {
		return err
	}
	f := &failure{
		code: exitNotFound,
		err:  fmt.Errorf("no volume %q in the trash%s", name, didYouMean(name, c.volumeNames(ctx, true))),
		hint: `try "ballast volume ls --trash"`,
	}
	if slices.Contains(c.volumeNames(ctx, false), name) {
		f.err = fmt.Errorf("no volume %q in the trash: it was not removed", name)
		f.hint = fmt.Sprintf("to bring it back as it was at a moment: %q", "ballast volume restore "+name+` --at '5m ago'`)
	}
	return f
}

// errNoSuch is the agent's word for what it does not know.
var errNoSuch = connect.NewError(connect.CodeNotFound, ballast.ErrNotFound)

// explainHistory is explainName for a call into the archive, where "not found" can
// also be a snapshot or a moment: then the agent says it best.
func (c *cli) explainHistory(ctx context.Context, name string, err error) error {
	code := connect.CodeOf(err)
	if _, told := errors.AsType[*failure](err); told {
		return err
	}
	if code == connect.CodeNotFound && !c.isKnown(ctx, name) {
		return c.explainName(ctx, name, err)
	}
	explained := explain(err)
	switch code {
	case connect.CodeNotFound, connect.CodeOutOfRange, connect.CodeDataLoss:
		explained.hint = fmt.Sprintf("see what can be restored with %q", "ballast volume history "+name)
	case connect.CodeFailedPrecondition:
		explained.hint = fmt.Sprintf("see who holds it with %q", "ballast volume inspect "+name)
	case connect.CodeCanceled, connect.CodeUnknown, connect.CodeInvalidArgument, connect.CodeDeadlineExceeded,
		connect.CodeAlreadyExists, connect.CodePermissionDenied, connect.CodeResourceExhausted, connect.CodeAborted,
		connect.CodeUnimplemented, connect.CodeInternal, connect.CodeUnavailable, connect.CodeUnauthenticated:
	}
	return explained
}

// isKnown says whether there is a volume of that name or, in the trash, with that
// id, as far as the agent answers.
func (c *cli) isKnown(ctx context.Context, name string) bool {
	if slices.Contains(c.volumeNames(ctx, false), name) {
		return true
	}
	return c.inTrash(ctx, name) != nil
}

// inTrash returns the removed volume of that name or id, nil where there is none or
// the agent does not say.
func (c *cli) inTrash(ctx context.Context, name string) *ballastv1.Volume {
	res, err := ask(ctx, askLimit, c.agent().volumes.List, &ballastv1.ListRequest{Trash: true})
	if err != nil {
		return nil
	}
	for _, v := range res.GetVolumes() {
		if v.GetName() == name || v.GetId() == name {
			return v
		}
	}
	return nil
}

// each carries out do for every name, tells about each failure and returns the
// first: one volume that is in use does not keep the others from being removed.
func (c *cli) each(ctx context.Context, names []string, do func(name string) error) error {
	var first error
	for _, name := range names {
		err := do(name)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case first == nil:
			first = err
		default:
			report(ctx, c.stderr, err)
		}
	}
	return first
}

// isInUse says whether the agent refused because somebody holds the volume.
func isInUse(err error) bool {
	wire, ok := errors.AsType[*connect.Error](err)
	return ok && wire.Code() == connect.CodeFailedPrecondition
}
