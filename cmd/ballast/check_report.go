package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/ballast-io/ballast/internal/volume"
)

func (c *cli) printReport(dir string, r volume.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = writeJSON(c.stdout, toReportJSON(dir, r))
	} else {
		err = printReport(c.stdout, dir, r)
	}
	if err == nil && len(r.Damage) > 0 {
		return errFound
	}
	return err
}

func printReport(w io.Writer, dir string, r volume.Report) error {
	rows := [][]string{
		{"volume", fmt.Sprintf("%s, %s, epoch %d", or(string(r.ID), "unknown"), size(uint64(r.Size)), uint64(r.Epoch))},
		{"folder", dir},
		{"log", fmt.Sprintf("%s in %s of %s verified", count(r.Records, "record"), countOf(r.Batches, "batch", "batches"), count(r.Segments, "segment"))},
		{"image", fmt.Sprintf("holds all up to LSN %d; the log goes on to LSN %d", r.Applied, r.Last)},
		{"tables", count(r.Chunks, "chunk") + " verified"},
	}
	if state := copyState(r); state != "" {
		rows = append(rows, []string{"copy", state})
	}
	err := table(w, rows)
	for _, d := range r.Damage {
		fmt.Fprintf(w, "\n! %s, byte %d: %s\n  means:   %s\n  to do:   %s\n", d.File, d.Offset, d.Reason, meaning(d.File), remedy(dir))
	}
	if len(r.Damage) == 0 {
		fmt.Fprintln(w, "\nno damage found")
	}
	return err
}

// copyState says how far a copy is that is on its way to its leader's state.
func copyState(r volume.Report) string {
	switch staged := count(r.Staged, "staged chunk"); {
	case r.Merging:
		return "is being brought to another point; attaching it, or its primary, goes on with " + staged
	case r.Incomplete:
		return "is not complete: it cannot be attached until its primary has sent the rest; " + staged
	case r.Staged > 0:
		return "complete; " + staged + " of a later point, which its primary goes on with"
	default:
		return ""
	}
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// meaning is what damage in a file means for the data.
func meaning(file string) string {
	switch base := filepath.Base(file); {
	case strings.HasPrefix(file, "log") || strings.HasSuffix(base, ".log"):
		return "writes that were acknowledged cannot be read back; what came before them is whole"
	case base == "image":
		return "a part of the volume's contents is missing"
	case base == "chunks":
		return "the contents are whole; what changed when is not known any more"
	}
	return "the volume cannot be attached; its log and image are still there"
}

// remedy is what to do first about any damage.
func remedy(dir string) string {
	return fmt.Sprintf("keep a copy before anything else: cp -a --sparse=always %s ELSEWHERE; look for disk errors: dmesg; then restore a backup into a new volume", dir)
}

type reportJSON struct {
	ID         string       `json:"id"`
	Folder     string       `json:"folder"`
	SizeBytes  int64        `json:"size_bytes"`
	Epoch      uint64       `json:"epoch"`
	AppliedLSN uint64       `json:"applied_lsn"`
	LastLSN    uint64       `json:"last_lsn"`
	Segments   int          `json:"segments"`
	Batches    int          `json:"batches"`
	Records    int          `json:"records"`
	Chunks     int          `json:"chunks"`
	Incomplete bool         `json:"incomplete"`
	Merging    bool         `json:"merging"`
	Staged     int          `json:"staged"`
	Damage     []damageJSON `json:"damage"`
}

type damageJSON struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
	Means  string `json:"means"`
}

func toReportJSON(dir string, r volume.Report) reportJSON {
	all := reportJSON{
		ID: string(r.ID), Folder: dir, SizeBytes: r.Size, Epoch: uint64(r.Epoch),
		AppliedLSN: uint64(r.Applied), LastLSN: uint64(r.Last),
		Segments: r.Segments, Batches: r.Batches, Records: r.Records, Chunks: r.Chunks,
		Incomplete: r.Incomplete, Merging: r.Merging, Staged: r.Staged,
		Damage: []damageJSON{},
	}
	for _, d := range r.Damage {
		all.Damage = append(all.Damage, damageJSON{d.File, d.Offset, d.Reason, meaning(d.File)})
	}
	return all
}
