package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// cliHolder is who holds a volume that a person attached.
const cliHolder = "cli"

func newVolumeAttach(c *cli) *cobra.Command {
	var holder, node string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "attach NAME [--node NODE] [--holder WHO]",
		Short: "mount a volume and print where",
		Long: `Mount a volume on this node, or on another one, and print where. It stays
mounted until each holder has detached it as often as it was attached. Docker
attaches by itself.

Where no copy of the volume is, it can be used at once and fills in from an
in-sync copy. While another node holds it, this waits, and names that node.`,
		Example:           "  ls \"$(ballast volume attach db)\"\n  ballast volume detach db\n  ballast volume attach db --node n2",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer c.sayWhoHolds(cmd.Context(), args[0], node)()
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Attach, &ballastv1.AttachRequest{Name: args[0], Holder: holder, Node: node})
			switch {
			case err != nil:
				return c.explainHeld(cmd.Context(), args[0], node, err)
			case asJSON:
				return writeJSON(c.stdout, heldJSON{args[0], holder, node, res.GetMountpoint()})
			}
			_, err = fmt.Fprintln(c.stdout, res.GetMountpoint())
			return err
		},
	}
	holderFlag(cmd, &holder)
	c.nodeFlag(cmd, &node, "attach it on `NODE` (default this one)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newVolumeDetach(c *cli) *cobra.Command {
	var holder, node string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "detach NAME [--node NODE] [--holder WHO]",
		Short:             "end a hold on a volume; the last one unmounts it",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := ask(cmd.Context(), doLimit, c.agent().volumes.Detach, &ballastv1.DetachRequest{Name: args[0], Holder: holder, Node: node})
			switch {
			case err != nil:
				return c.explainHeld(cmd.Context(), args[0], node, err)
			case asJSON:
				return writeJSON(c.stdout, heldJSON{Name: args[0], Holder: holder, Node: node})
			}
			return nil
		},
	}
	holderFlag(cmd, &holder)
	c.nodeFlag(cmd, &node, "detach it on `NODE` (default this one)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// unsaid is how long an attach may take before something is said.
const unsaid = 3 * time.Second

// sayWhoHolds tells a person for whom an attach waits, when it does. The caller calls what
// it returns when the attach has ended.
func (c *cli) sayWhoHolds(ctx context.Context, name, node string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-time.After(unsaid):
		case <-ctx.Done():
			return
		}
		line := ""
		if node == "" {
			s, _ := ask(ctx, askLimit, c.agent().node.Status, &ballastv1.StatusRequest{}) // or the attach says what is wrong
			node = s.GetNode()
		}
		if res, err := ask(ctx, askLimit, c.agent().volumes.Inspect, &ballastv1.InspectRequest{Name: name}); err == nil {
			line = heldLine(res.GetVolume(), node)
		}
		if line != "" && ctx.Err() == nil {
			fmt.Fprintln(c.stderr, "ballast: "+line)
		}
	}()
	return func() { cancel(); <-done }
}

// heldLine says for whom an attach on a node waits; nothing when it does for nobody.
func heldLine(v *ballastv1.Volume, node string) string {
	if v.GetPrimary() == "" || v.GetPrimary() == node || node == "" {
		return ""
	}
	for _, one := range v.GetCopies() {
		if one.GetNode() == v.GetPrimary() && one.GetState() == "away" {
			return fmt.Sprintf("waiting until %s can be taken over from node %s, which is away", v.GetName(), v.GetPrimary())
		}
	}
	return fmt.Sprintf("waiting until node %s lets go of %s, which is held there by %s; to move it: ballast volume move %[2]s %[4]s",
		v.GetPrimary(), v.GetName(), or(strings.Join(v.GetHolders(), ", "), "somebody"), node)
}

func holderFlag(cmd *cobra.Command, holder *string) {
	cmd.Flags().StringVar(holder, "holder", cliHolder, "hold the volume in the name of `WHO`")
}

// explainHeld is explainName for a call in which "not found" can also be the node.
func (c *cli) explainHeld(ctx context.Context, name, node string, err error) error {
	if node != "" && slices.Contains(c.volumeNames(ctx, false), name) {
		return c.explainNode(ctx, node, err)
	}
	return c.explainName(ctx, name, err)
}

type heldJSON struct {
	Name       string `json:"name"`
	Holder     string `json:"holder"`
	Node       string `json:"node"`       // that was asked for; empty: this one
	Mountpoint string `json:"mountpoint"` // on that node; empty once it is detached
}
