package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newStatus(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show the health of this node and its cluster",
		Long: `Show this node's health and what it holds: what is wrong, since when, what it
means for the data, what to type next. It exits with 0 when the agent answers;
whether all is well is in the answer.`,
		Example:           "  ballast status\n  ballast status --json | jq -e '.conditions == []'",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), askLimit, c.agent().node.Status, &ballastv1.StatusRequest{})
			if err != nil {
				return err
			}
			archive := c.archiveStatus(cmd.Context())
			if asJSON {
				return writeJSON(c.stdout, toStatusJSON(s, archive))
			}
			return c.printStatus(s, archive)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// archiveStatus asks for the archive, too; nil from an agent that knows of none. An
// archive that nobody can say anything of must not hide the node.
func (c *cli) archiveStatus(ctx context.Context) *ballastv1.ArchiveStatusResponse {
	s, err := ask(ctx, askLimit, c.agent().archive.Status, &ballastv1.ArchiveStatusRequest{})
	switch {
	case err == nil:
		return s
	case connect.CodeOf(err) == connect.CodeUnimplemented:
		return nil
	}
	return &ballastv1.ArchiveStatusResponse{Url: "unknown", State: "the agent does not say", Error: explain(err).Error()}
}

func (c *cli) printStatus(s *ballastv1.StatusResponse, archive *ballastv1.ArchiveStatusResponse) error {
	records, healthy := "ready", "all is well"
	if !s.GetRecordsReady() {
		records = "not ready: known volumes are served, nothing can be created or removed yet"
	}
	if n := len(s.GetConditions()); n > 0 {
		healthy = count(n, "thing") + " to look at"
	}
	rows := [][]string{
		{"node", fmt.Sprintf("%s, ballast %s, started %s", s.GetNode(), s.GetVersion(), or(ago(c.now(), s.GetStartedAt().AsTime()), "-"))},
		{"health", healthy},
		{"records", records},
		{"volumes", fmt.Sprintf("%d, %d attached", s.GetVolumes(), s.GetAttached())},
		{"data", fmt.Sprintf("%s, %s of %s free", s.GetDataDir(), size(s.GetDiskFreeBytes()), size(s.GetDiskSizeBytes()))},
	}
	rows = append(rows, c.clusterRows(s)...)
	if archive != nil {
		rows = append(rows, c.archiveRows(archive)...)
	}
	err := table(c.stdout, rows)
	c.printConditions(c.stdout, s.GetConditions())
	return err
}

// clusterRows are the lines of status on the cluster; none for a node on its own.
func (c *cli) clusterRows(s *ballastv1.StatusResponse) [][]string {
	if s.GetCluster() == "" {
		return nil
	}
	var names []string
	for _, n := range s.GetNodes() {
		name := n.GetName()
		if n.GetState() != "up" {
			name += " (" + n.GetState()
			if isSet(n.GetSince()) {
				name += " for " + c.since(n.GetSince())
			}
			name += ")"
		}
		names = append(names, name)
	}
	return [][]string{
		{"cluster", fmt.Sprintf("%s, which reaches this node at %s", s.GetCluster(), or(s.GetListen(), "no address"))},
		{"nodes", fmt.Sprintf("%d: %s", len(names), strings.Join(names, ", "))},
		{"lease", fmt.Sprintf("%s: others can take over what a node has that is silent for so long", s.GetLease().AsDuration())},
	}
}

type statusJSON struct {
	Node          string          `json:"node"`
	Version       string          `json:"version"`
	StartedAt     *time.Time      `json:"started_at"`
	RecordsReady  bool            `json:"records_ready"`
	Volumes       uint32          `json:"volumes"`
	Attached      uint32          `json:"attached"`
	DataDir       string          `json:"data_dir"`
	DiskFreeBytes uint64          `json:"disk_free_bytes"`
	DiskSizeBytes uint64          `json:"disk_size_bytes"`
	Cluster       string          `json:"cluster"` // its id; empty: the node is on its own
	Listen        string          `json:"listen"`  // where other nodes reach this one; empty: nowhere
	LeaseSeconds  float64         `json:"lease_seconds"`
	Nodes         []nodeJSON      `json:"nodes"` // of the cluster
	Archive       *archiveJSON    `json:"archive,omitempty"`
	Conditions    []conditionJSON `json:"conditions"`
}

func toStatusJSON(s *ballastv1.StatusResponse, archive *ballastv1.ArchiveStatusResponse) statusJSON {
	all := statusJSON{
		Node: s.GetNode(), Version: s.GetVersion(), StartedAt: toTime(s.GetStartedAt()), RecordsReady: s.GetRecordsReady(),
		Volumes: s.GetVolumes(), Attached: s.GetAttached(),
		DataDir: s.GetDataDir(), DiskFreeBytes: s.GetDiskFreeBytes(), DiskSizeBytes: s.GetDiskSizeBytes(),
		Cluster: s.GetCluster(), Listen: s.GetListen(), LeaseSeconds: s.GetLease().AsDuration().Seconds(), Nodes: toNodesJSON(s.GetNodes()),
		Conditions: conditionsJSON(s.GetConditions()),
	}
	if archive != nil {
		a := toArchiveJSON(archive)
		all.Archive = &a
	}
	return all
}
