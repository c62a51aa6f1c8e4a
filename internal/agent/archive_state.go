package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	archiveStateVersion = 1
	archiveStateFile    = "archive.json"
	maxArchiveState     = 256 << 10
	maxGaps             = 64 // the oldest are forgotten; the archive itself knows them all
)

// archiveState is how far a volume's history is in the archive, in a file beside the
// volume. It is a copy of what the archive says: one that is lost or old costs a few
// requests, and nothing else.
type archiveState struct {
	Version    int         `json:"version"`
	Repository string      `json:"repository,omitempty"` // whose archive this is about
	Tail       *tail.State `json:"tail,omitempty"`       // of the writer; nil: to be found in the archive
	LSN        ballast.LSN `json:"lsn"`                  // up to here records are archived, or were given up
	Until      time.Time   `json:"until,omitzero"`       // the newest point in the archive

	HasBase  bool        `json:"has_base,omitempty"`
	BaseID   string      `json:"base_id,omitempty"` // of the newest base snapshot, which the next one builds upon
	BaseLSN  ballast.LSN `json:"base_lsn"`
	BaseTime time.Time   `json:"base_time,omitzero"`

	TailBytes   int64 `json:"tail_bytes"`   // shipped since the base snapshot, before compression
	TailObjects int   `json:"tail_objects"` // likewise

	Gaps []gap `json:"gaps,omitempty"`
}

// fenced reports whether somebody else has continued the history: nothing is archived
// from here any more.
func (a archiveState) fenced() bool { return a.Tail != nil && a.Tail.Fenced }

// gap is a stretch of time that the archive could not keep.
type gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"` // zero: no base snapshot has closed it yet
}

// open reports whether records are missing that no base snapshot has made up for.
func (a archiveState) open() bool { return len(a.Gaps) > 0 && a.Gaps[len(a.Gaps)-1].Until.IsZero() }

// withGap notes that records behind from are gone.
func (a archiveState) withGap(from time.Time) archiveState {
	if a.open() {
		return a
	}
	a.Gaps = append(append([]gap(nil), a.Gaps...), gap{From: from})
	a.Gaps = a.Gaps[max(0, len(a.Gaps)-maxGaps):]
	return a
}

// withShipment notes an object of the tail.
func (a archiveState) withShipment(last ballast.LSN, until time.Time, bytes int64) archiveState {
	a.LSN = max(a.LSN, last)
	if !until.IsZero() {
		a.Until = until
	}
	a.TailBytes += bytes
	a.TailObjects++
	return a
}

// withBase notes a base snapshot of the volume at lsn, which closes an open gap.
// What was shipped before the snapshot began is no longer needed with it.
func (a archiveState) withBase(id string, lsn ballast.LSN, at time.Time, tailBytes int64, tailObjects int) archiveState {
	a.HasBase, a.BaseID, a.BaseLSN, a.BaseTime = true, id, lsn, at
	a.TailBytes, a.TailObjects = max(0, a.TailBytes-tailBytes), max(0, a.TailObjects-tailObjects)
	if a.open() {
		a.Gaps = append([]gap(nil), a.Gaps...)
		a.Gaps[len(a.Gaps)-1].Until = at
	}
	if at.After(a.Until) {
		a.Until = at
	}
	return a
}

// decodeArchiveState reads a stored state.
func decodeArchiveState(data []byte) (archiveState, error) {
	var a archiveState
	if err := json.Unmarshal(data, &a); err != nil {
		return archiveState{}, fmt.Errorf("decode archive state: %w", err)
	}
	if a.Version != archiveStateVersion {
		return archiveState{}, fmt.Errorf("decode archive state: it has format %d, this release reads %d", a.Version, archiveStateVersion)
	}
	if a.TailBytes < 0 || a.TailObjects < 0 || len(a.Gaps) > maxGaps {
		return archiveState{}, fmt.Errorf("decode archive state: it counts %d bytes, %d objects and %d gaps", a.TailBytes, a.TailObjects, len(a.Gaps))
	}
	return a, nil
}

// loadArchiveState returns what is remembered of the volume in dir; nothing is no error.
func loadArchiveState(disk vfs.FS, dir string) (archiveState, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+archiveStateFile, maxArchiveState)
	if errors.Is(err, fs.ErrNotExist) {
		return archiveState{}, nil
	}
	if err != nil {
		return archiveState{}, err
	}
	return decodeArchiveState(data)
}

func saveArchiveState(disk vfs.FS, dir string, a archiveState) error {
	a.Version = archiveStateVersion
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode archive state: %w", err)
	}
	return vfs.ReplaceFile(disk, dir+"/"+archiveStateFile, data)
}
