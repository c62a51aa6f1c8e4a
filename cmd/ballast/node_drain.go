package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newNodeDrain(c *cli) *cobra.Command {
	var undo, asJSON bool
	cmd := &cobra.Command{
		Use:   "drain NAME [--undo]",
		Short: "move every copy away from a node, and say when it can be switched off",
		Long: `Move every copy away from a node, before its machine is switched off or taken
out. Copies are made in sync elsewhere first, then those on the node are given
up; it gets no new ones. What containers use there stays until they stop: stop
them, or start them elsewhere.

The command says what is left for each volume, and ends when nothing is. It can
be interrupted: the drain goes on, and the same command shows how far it is.
--undo ends it; the node takes copies again.`,
		Example:           "  ballast node drain n2\n  ballast node drain n2 --undo",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeNodes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.drain(cmd, &ballastv1.DrainNodeRequest{Name: args[0], Undo: undo}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "let the node take copies again")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) drain(cmd *cobra.Command, req *ballastv1.DrainNodeRequest, asJSON bool) error {
	name := req.GetName()
	var last *ballastv1.DrainNodeResponse
	said := map[string]string{} // what was said of each volume
	again := fmt.Sprintf("the drain goes on; see how far it is with \"ballast node drain %s\", end it with --undo", name)
	err := listen(cmd.Context(), c, again, c.agent().node.DrainNode, req, func(m *ballastv1.DrainNodeResponse, shown *progress, _ io.Writer) {
		last = m
		sayDrainSteps(aboveBar{shown, c.stderr}, said, m.GetSteps())
		shown.update(drainProgress(m.GetSteps()))
	})
	switch {
	case err != nil:
		return c.explainNode(cmd.Context(), name, err)
	case !last.GetDone():
		return errUnsaid
	case asJSON:
		return writeJSON(c.stdout, drainJSON{name, last.GetDone(), req.GetUndo()})
	case req.GetUndo():
		_, err = fmt.Fprintf(c.stdout, "%s takes copies again\n", name)
	default:
		_, err = fmt.Fprintf(c.stdout, "%s has no copies any more and can be switched off; to take it out of the cluster for good: ballast node rm %s\n", name, name)
	}
	return err
}

// drainProgress is how far all that is being copied is; nil while nothing is.
func drainProgress(steps []*ballastv1.DrainStep) *ballastv1.Progress {
	var sum *ballastv1.Progress
	copied := 0
	for _, s := range steps {
		p := s.GetProgress()
		if p.GetTotalBytes() == 0 {
			continue
		}
		copied++
		if sum == nil {
			sum = &ballastv1.Progress{Unit: p.GetUnit()}
		}
		sum.DoneBytes += p.GetDoneBytes()
		sum.TotalBytes += p.GetTotalBytes()
	}
	if sum != nil {
		sum.Step = "copying " + count(copied, "volume")
	}
	return sum
}

// sayDrainSteps tells what is new of what is left to do.
func sayDrainSteps(w io.Writer, said map[string]string, steps []*ballastv1.DrainStep) {
	left := map[string]bool{}
	for _, s := range steps {
		left[s.GetVolume()] = true
		if said[s.GetVolume()] != s.GetDoing() {
			said[s.GetVolume()] = s.GetDoing()
			fmt.Fprintf(w, "ballast: %s: %s\n", s.GetVolume(), s.GetDoing())
		}
	}
	for _, volume := range slices.Sorted(maps.Keys(said)) {
		if !left[volume] {
			delete(said, volume)
			fmt.Fprintf(w, "ballast: %s: done\n", volume)
		}
	}
}

type drainJSON struct {
	Node string `json:"node"`
	Done bool   `json:"done"`
	Undo bool   `json:"undo"` // it takes copies again
}
