package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newNodeRm(c *cli) *cobra.Command {
	var force, yes, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME [--force]",
		Aliases: []string{"remove"},
		Short:   "take a node out of the cluster",
		Long: `Take a node out of the cluster: no other node answers it from then on. Drain it
first, where it is up. One that is lost for good is removed as it is; the copies
that it had are made anew on other nodes.

It is refused while the node is up and has copies, or where it has the only
in-sync copy of a volume. --force removes it all the same; what that loses is
shown first, and asked for on a terminal.`,
		Example:           "  ballast node drain n2 && ballast node rm n2\n  ballast node rm n3 --force",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeNodes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if force && !yes {
				if asJSON {
					return usagef("with --json nobody is asked: add --yes to remove a node by force")
				}
				if err := c.confirmNodeRm(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			res, err := ask(cmd.Context(), doLimit, c.agent().node.RemoveNode, &ballastv1.RemoveNodeRequest{Name: args[0], Force: force})
			switch {
			case err != nil:
				return c.explainNode(cmd.Context(), args[0], err)
			case asJSON:
				return writeJSON(c.stdout, removedNodeJSON{args[0], append([]string{}, res.GetLost()...)})
			}
			return c.printNodeRm(args[0], res.GetLost())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it though it is up and has copies, or has the only in-sync one of a volume")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before removing by force")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// confirmNodeRm shows what removing a node by force loses, and asks.
func (c *cli) confirmNodeRm(ctx context.Context, name string) error {
	res, err := ask(ctx, askLimit, c.agent().node.InspectNode, &ballastv1.InspectNodeRequest{Name: name})
	if err != nil {
		return c.explainNode(ctx, name, err)
	}
	n := res.GetNode()
	fmt.Fprintf(c.stdout, "node %s is %s, with %s attached and copies of %d\n", name, n.GetState(), count(n.GetPrimaries(), "volume"), n.GetCopies())
	var only []string
	for _, v := range res.GetVolumes() {
		if inSync(v, "") != "" && inSync(v, name) == "" {
			only = append(only, v.GetName())
		}
	}
	loses := "nothing: what it has is in sync elsewhere"
	if len(only) > 0 {
		loses = "the latest writes of " + strings.Join(only, ", ") + ": nobody else has them"
	}
	fmt.Fprintf(c.stdout, "loses: %s\n", loses)
	return c.confirm(ctx, fmt.Sprintf("Remove node %s by force?", name))
}

func (c *cli) printNodeRm(name string, lost []string) error {
	_, err := fmt.Fprintf(c.stdout, "%s is not in the cluster any more\n", name)
	for _, v := range lost {
		fmt.Fprintf(c.stdout, "%s has no in-sync copy left; see from what it can go on: ballast volume failover %s\n", v, v)
	}
	return err
}

type removedNodeJSON struct {
	Removed string   `json:"removed"`
	Lost    []string `json:"lost"` // volumes that have no in-sync copy any more
}
