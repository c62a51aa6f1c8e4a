package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeMove(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "move NAME NODE",
		Short: "make another node hold a volume, with all that was written",
		Long: `Make another node hold a volume. A copy there catches up first, while the volume
is used; then it goes over, and writers pause for the last few records only.

What was attached with "ballast volume attach" goes over by itself. Containers
do not: the command names them and waits until they let go; started on the other
node they find everything there. It can be interrupted: the volume stays where
it is, and the copy goes on catching up.`,
		Example:           "  ballast volume move db n2",
		Args:              operands("NAME", "NODE"),
		ValidArgsFunction: c.completeVolumeAndNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.move(cmd, args[0], args[1], asJSON)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) move(cmd *cobra.Command, name, node string, asJSON bool) error {
	var last *ballastv1.MoveResponse
	var waited []string
	again := fmt.Sprintf("%s stays where it is and is whole, and the copy on %s goes on catching up; the same command again goes on from there", name, node)
	err := follow(cmd.Context(), c, again, c.agent().volumes.Move, &ballastv1.MoveRequest{Name: name, Node: node},
		func(m *ballastv1.MoveResponse, _ io.Writer) {
			last = m
			if held := m.GetHolders(); len(held) > 0 && !slices.Equal(held, waited) {
				waited = held
				fmt.Fprintf(c.stderr, "ballast: %s: %s\n", m.GetDoing(), strings.Join(held, ", "))
			}
		})
	switch {
	case err != nil:
		return c.explainHeld(cmd.Context(), name, node, err)
	case !last.GetDone():
		return errUnsaid
	case asJSON:
		return writeJSON(c.stdout, movedJSON{name, node, last.GetPause().AsDuration().Seconds()})
	}
	pause := last.GetPause().AsDuration()
	if pause <= 0 {
		_, err = fmt.Fprintf(c.stdout, "%s is in sync on %s, and what uses it can start there\n", name, node)
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s is on %s; for %s nobody could write\n", name, node, pause.Round(time.Millisecond))
	return err
}

type movedJSON struct {
	Name         string  `json:"name"`
	Node         string  `json:"node"`
	PauseSeconds float64 `json:"pause_seconds"` // for which nobody could write
}
