package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newNode(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "list, inspect, drain and remove the nodes of the cluster",
		Long: `Manage the nodes of the cluster. A machine becomes one by
"ballast token create" on a node, and "ballast join" on the machine.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(newNodeLs(c), newNodeInspect(c), newNodeDrain(c), newNodeRm(c))
	return cmd
}

// explainNode turns the agent's "not found" for a node into what the user can do about it.
func (c *cli) explainNode(ctx context.Context, name string, err error) error {
	if connect.CodeOf(err) != connect.CodeNotFound {
		return err
	}
	return &failure{
		code: exitNotFound,
		err:  fmt.Errorf("no such node %q%s", name, didYouMean(name, c.nodeNames(ctx))),
		hint: `try "ballast node ls"`,
	}
}

// nodeNames asks the agent; a shell that completes is told nothing rather than an error.
func (c *cli) nodeNames(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	res, err := c.agent().node.ListNodes(ctx, connect.NewRequest(&ballastv1.ListNodesRequest{}))
	if err != nil {
		return nil
	}
	var names []string
	for _, n := range res.Msg.GetNodes() {
		names = append(names, n.GetName())
	}
	return names
}

// completeNodes completes the names of nodes; at most limit of them.
func (c *cli) completeNodes(limit int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.nodeNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeVolumeAndNode completes the name of a volume, and then that of a node.
func (c *cli) completeVolumeAndNode(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return c.nodeNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeVolumes(1, false)(cmd, args, word)
}

// nodeFlag declares an option that names a node.
func (c *cli) nodeFlag(cmd *cobra.Command, node *string, usage string) {
	cmd.Flags().StringVar(node, "node", "", usage)
	err := cmd.RegisterFlagCompletionFunc("node", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.nodeNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the option does not exist: a mistake in this program
	}
}
