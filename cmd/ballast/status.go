package main

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newStatus(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show this node's health and what it holds",
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
	if archive != nil {
		rows = append(rows, c.archiveRows(archive)...)
	}
	err := table(c.stdout, rows)
	c.printConditions(c.stdout, s.GetConditions())
	return err
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
	Archive       *archiveJSON    `json:"archive,omitempty"`
	Conditions    []conditionJSON `json:"conditions"`
}

func toStatusJSON(s *ballastv1.StatusResponse, archive *ballastv1.ArchiveStatusResponse) statusJSON {
	all := statusJSON{
		Node: s.GetNode(), Version: s.GetVersion(), StartedAt: toTime(s.GetStartedAt()), RecordsReady: s.GetRecordsReady(),
		Volumes: s.GetVolumes(), Attached: s.GetAttached(),
		DataDir: s.GetDataDir(), DiskFreeBytes: s.GetDiskFreeBytes(), DiskSizeBytes: s.GetDiskSizeBytes(),
		Conditions: conditionsJSON(s.GetConditions()),
	}
	if archive != nil {
		a := toArchiveJSON(archive)
		all.Archive = &a
	}
	return all
}
