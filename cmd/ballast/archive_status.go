package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newArchiveStatus(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show where the archive is and how much is not in it yet",
		Long: `Show where the archive is, and for each volume up to when it is in it and how
much waits. WAITING is what would be lost with this machine; TAIL is the log
since the last snapshot.`,
		Example:           "  ballast archive status\n  ballast archive status --json | jq -e 'all(.volumes[]; .state.behind_since == null)'",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), askLimit, c.agent().archive.Status, &ballastv1.ArchiveStatusRequest{})
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, toArchiveJSON(s))
			}
			return c.printArchive(s)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) printArchive(s *ballastv1.ArchiveStatusResponse) error {
	rows := c.archiveRows(s)
	for _, optional := range [][]string{
		{"repository", s.GetRepositoryId()},
		{"password", s.GetPasswordFile()},
	} {
		if optional[1] != "" {
			rows = append(rows, optional)
		}
	}
	if err := table(c.stdout, rows); err != nil {
		return err
	}
	if len(s.GetVolumes()) == 0 {
		return nil
	}
	fmt.Fprintln(c.stdout)
	rows = [][]string{{"NAME", "ARCHIVED UNTIL", "WAITING", "TAIL", "LAST SNAPSHOT", "HEALTH"}}
	for _, v := range s.GetVolumes() {
		a := v.GetState()
		rows = append(rows, []string{
			v.GetName(), c.clock(a.GetArchivedUntil()), size(a.GetQueuedBytes()), size(a.GetTailBytes()),
			or(c.agoOf(a.GetLastSnapshot()), "-"), c.archiveHealth(a),
		})
	}
	return table(c.stdout, rows)
}

// archiveHealth is how archiving a volume goes, in a few words.
func (c *cli) archiveHealth(a *ballastv1.ArchiveState) string {
	switch {
	case isSet(a.GetBehindSince()):
		return fmt.Sprintf("failing for %s: %s", c.since(a.GetBehindSince()), or(a.GetError(), "nobody knows why"))
	case !isSet(a.GetArchivedUntil()) && !a.GetSnapshotting():
		return "nothing archived yet"
	case a.GetSnapshotting():
		return "a snapshot is being taken"
	case len(a.GetGaps()) > 0:
		return count(len(a.GetGaps()), "gap") + ": ballast volume history"
	}
	return "ok"
}

func (c *cli) agoOf(t *timestamppb.Timestamp) string {
	if !isSet(t) {
		return ""
	}
	return ago(c.now(), t.AsTime())
}

// since is how long something has been going on.
func (c *cli) since(t *timestamppb.Timestamp) string {
	return span(max(0, c.now().Sub(t.AsTime())))
}

// archiveRows are the lines of status on the archive: where it is, what is not in
// it, whether it was ever put to the test.
func (c *cli) archiveRows(s *ballastv1.ArchiveStatusResponse) [][]string {
	if s.GetUrl() == "" || s.GetUrl() == "none" {
		return [][]string{{"archive", "none: what is lost with this machine is lost"}}
	}
	rows := [][]string{{"archive", s.GetUrl() + c.archiveState(s)}}
	if s.GetLocal() {
		rows = append(rows, []string{"", "on this machine: it brings back yesterday, not a lost disk or machine; see \"ballast help agent\", --archive"})
	}
	if s.GetState() != "ready" && len(s.GetVolumes()) == 0 {
		return rows // nothing is known of them
	}
	rows = append(rows, []string{"archived", c.archived(s.GetVolumes())}, []string{"verified", c.verified(s.GetLastVerified())})
	return rows
}

// archiveState is what is wrong with the archive as a whole.
func (c *cli) archiveState(s *ballastv1.ArchiveStatusResponse) string {
	var words []string
	switch s.GetState() {
	case "ready", "":
		return ""
	case "missing":
		words = append(words, `it does not exist yet: "ballast archive init"`)
	case "locked-out":
		words = append(words, "the password does not open it")
	default:
		words = append(words, s.GetState())
	}
	if isSet(s.GetFailingSince()) {
		words = append(words, "since "+c.clockAgo(s.GetFailingSince()))
	}
	if s.GetError() != "" {
		words = append(words, s.GetError())
	}
	return ": " + strings.Join(words, ", ")
}

// archived says how far behind the archive is: what would be lost with this machine.
func (c *cli) archived(volumes []*ballastv1.VolumeArchive) string {
	var waiting uint64
	var behind []string
	var since *timestamppb.Timestamp
	begun := 0
	for _, v := range volumes {
		a := v.GetState()
		waiting += a.GetQueuedBytes()
		if isSet(a.GetArchivedUntil()) {
			begun++
		}
		if b := a.GetBehindSince(); isSet(b) {
			behind = append(behind, fmt.Sprintf("%s (%s)", v.GetName(), size(a.GetQueuedBytes())))
			if since == nil || b.AsTime().Before(since.AsTime()) {
				since = b
			}
		}
	}
	switch {
	case len(volumes) == 0:
		return "no volume yet"
	case len(behind) > 0:
		return fmt.Sprintf("%s behind since %s: %s", count(len(behind), "volume"), c.clockAgo(since), strings.Join(behind, ", "))
	case begun < len(volumes):
		return fmt.Sprintf("%d of %s, the first snapshots of the others are on their way", begun, count(len(volumes), "volume"))
	case waiting > 0:
		return fmt.Sprintf("%s, all but %s that is on its way", count(len(volumes), "volume"), size(waiting))
	}
	return fmt.Sprintf("%s, all that was flushed", count(len(volumes), "volume"))
}

func (c *cli) verified(at *timestamppb.Timestamp) string {
	if !isSet(at) {
		return `never: "ballast verify" restores every volume somewhere else and compares it`
	}
	return ago(c.now(), at.AsTime())
}

type archiveJSON struct {
	URL          string              `json:"url"`
	Local        bool                `json:"local"`
	RepositoryID string              `json:"repository_id"`
	State        string              `json:"state"`
	Error        string              `json:"error"`
	FailingSince *time.Time          `json:"failing_since"`
	Volumes      []volumeArchiveJSON `json:"volumes"`
	LastVerified *time.Time          `json:"last_verified"`
	PasswordFile string              `json:"password_file"`
}

type volumeArchiveJSON struct {
	Name  string        `json:"name"`
	ID    string        `json:"id"`
	State *archivedJSON `json:"state"`
}

func toArchiveJSON(s *ballastv1.ArchiveStatusResponse) archiveJSON {
	all := archiveJSON{
		URL: s.GetUrl(), Local: s.GetLocal(), RepositoryID: s.GetRepositoryId(), State: s.GetState(), Error: s.GetError(),
		FailingSince: toTime(s.GetFailingSince()), Volumes: []volumeArchiveJSON{},
		LastVerified: toTime(s.GetLastVerified()), PasswordFile: s.GetPasswordFile(),
	}
	for _, v := range s.GetVolumes() {
		all.Volumes = append(all.Volumes, volumeArchiveJSON{v.GetName(), v.GetId(), toArchivedJSON(v.GetState())})
	}
	return all
}
