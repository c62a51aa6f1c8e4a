package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newNodeLs(c *cli) *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "list the nodes of the cluster",
		Long: `List the nodes of the cluster, as this one sees them. A node is up, away (silent
for longer than a lease), draining or drained. RECORDS says whether it is one of
those that keep the cluster's records; ATTACHED counts the volumes in use there,
COPIES those that it has a copy of, or is to have.`,
		Example:           "  ballast node ls\n  ballast node ls --json | jq -r '.nodes[] | select(.state == \"away\") | .name'",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := ask(cmd.Context(), askLimit, c.agent().node.ListNodes, &ballastv1.ListNodesRequest{})
			switch nodes := res.GetNodes(); {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, nodesJSON{toNodesJSON(nodes)})
			case quiet:
				for _, n := range nodes {
					fmt.Fprintln(c.stdout, n.GetName())
				}
				return nil
			default:
				return table(c.stdout, c.nodeRows(nodes))
			}
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names only")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) nodeRows(nodes []*ballastv1.Node) [][]string {
	rows := [][]string{{"NAME", "STATE", "SINCE", "ADDRESS", "VERSION", "RECORDS", "FREE", "ATTACHED", "COPIES"}}
	for _, n := range nodes {
		rows = append(rows, []string{
			n.GetName(), n.GetState(), or(c.agoOf(n.GetSince()), "-"), or(n.GetAddress(), "-"), or(n.GetVersion(), "-"),
			yesNo(n.GetMember()), free(n), fmt.Sprint(n.GetPrimaries()), fmt.Sprint(n.GetCopies()),
		})
	}
	return rows
}

// free is the disk space of a node, where it is known.
func free(n *ballastv1.Node) string {
	switch {
	case n.GetDiskFreeBytes() == 0 && n.GetDiskSizeBytes() == 0:
		return "-"
	case n.GetDiskSizeBytes() == 0:
		return size(n.GetDiskFreeBytes())
	}
	return fmt.Sprintf("%s of %s", size(n.GetDiskFreeBytes()), size(n.GetDiskSizeBytes()))
}
