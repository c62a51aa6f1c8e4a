package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newNodeInspect(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect NAME",
		Short:             "show a node and the copies that it has",
		Example:           "  ballast node inspect n2\n  ballast node inspect n2 --json | jq -r '.volumes[].name'",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeNodes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := ask(cmd.Context(), askLimit, c.agent().node.InspectNode, &ballastv1.InspectNodeRequest{Name: args[0]})
			switch {
			case err != nil:
				return c.explainNode(cmd.Context(), args[0], err)
			case asJSON:
				return writeJSON(c.stdout, nodeInspectJSON{toNodeJSON(res.GetNode()), volumesJSON(res.GetVolumes())})
			}
			return c.printNode(c.stdout, res.GetNode(), res.GetVolumes())
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) printNode(w io.Writer, n *ballastv1.Node, volumes []*ballastv1.Volume) error {
	state := n.GetState()
	if since := c.agoOf(n.GetSince()); since != "" {
		state += ", since " + since
	}
	records := "asks the nodes that keep them"
	if n.GetMember() {
		records = "kept here"
	}
	rows := [][]string{
		{"name", n.GetName()},
		{"state", state},
		{"address", or(n.GetAddress(), "none: the node is on its own")},
		{"version", or(n.GetVersion(), "-")},
		{"records", records},
		{"disk", free(n) + " free"},
		{"volumes", fmt.Sprintf("%d attached, copies of %d", n.GetPrimaries(), n.GetCopies())},
	}
	for _, optional := range [][]string{
		{"joined", c.agoOf(n.GetJoinedAt())},
		{"certificate", c.certificate(n)},
	} {
		if optional[1] != "" {
			rows = append(rows, optional)
		}
	}
	if err := table(w, rows); err != nil || len(volumes) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return table(w, copiesOn(n.GetName(), volumes))
}

// certificate says until when a node's is good, which renews by itself at half of its time.
func (c *cli) certificate(n *ballastv1.Node) string {
	if !isSet(n.GetCertificateUntil()) {
		return ""
	}
	return "until " + c.clockAgo(n.GetCertificateUntil()) + ", renewed by itself before"
}

// copiesOn are the copies that a node has, and whether others are in sync besides.
func copiesOn(node string, volumes []*ballastv1.Volume) [][]string {
	rows := [][]string{{"VOLUME", "SIZE", "COPY HERE", "IN SYNC ELSEWHERE", "HEALTH"}}
	for _, v := range volumes {
		state := "-"
		if i := slices.IndexFunc(v.GetCopies(), func(c *ballastv1.Copy) bool { return c.GetNode() == node }); i >= 0 {
			state = v.GetCopies()[i].GetState()
		}
		rows = append(rows, []string{v.GetName(), size(v.GetSizeBytes()), state, or(inSync(v, node), "nowhere"), health(v)})
	}
	return rows
}
