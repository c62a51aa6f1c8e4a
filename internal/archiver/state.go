package archiver

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
	stateVersion = 1
	stateFile    = "archive.json"
	maxState     = 256 << 10
	maxGaps      = 64 // the oldest are forgotten; the archive itself knows them all
)

// State is how far a volume's history is in the archive, in a file beside the
// volume. It is a copy of what the archive says: one that is lost or old costs a few
// requests, and nothing else.
type State struct {
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

	Gaps []Gap `json:"gaps,omitempty"`
}

// fenced reports whether somebody else has continued the history: nothing is archived
// from here any more.
func (a State) fenced() bool { return a.Tail != nil && a.Tail.Fenced }

// Gap is a stretch of time that the archive could not keep.
type Gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"` // zero: no base snapshot has closed it yet
}

// open reports whether records are missing that no base snapshot has made up for.
func (a State) open() bool { return len(a.Gaps) > 0 && a.Gaps[len(a.Gaps)-1].Until.IsZero() }

// withGap notes that records behind from are gone.
func (a State) withGap(from time.Time) State {
	if a.open() {
		return a
	}
	a.Gaps = append(append([]Gap(nil), a.Gaps...), Gap{From: from})
	a.Gaps = a.Gaps[max(0, len(a.Gaps)-maxGaps):]
	return a
}

// withShipment notes an object of the tail.
func (a State) withShipment(last ballast.LSN, until time.Time, bytes int64) State {
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
func (a State) withBase(id string, lsn ballast.LSN, at time.Time, tailBytes int64, tailObjects int) State {
	a.HasBase, a.BaseID, a.BaseLSN, a.BaseTime = true, id, lsn, at
	a.TailBytes, a.TailObjects = max(0, a.TailBytes-tailBytes), max(0, a.TailObjects-tailObjects)
	if a.open() {
		a.Gaps = append([]Gap(nil), a.Gaps...)
		a.Gaps[len(a.Gaps)-1].Until = at
	}
	if at.After(a.Until) {
		a.Until = at
	}
	return a
}

// decodeState reads a stored state.
func decodeState(data []byte) (State, error) {
	var a State
	if err := json.Unmarshal(data, &a); err != nil {
		return State{}, fmt.Errorf("decode archive state: %w", err)
	}
	if a.Version != stateVersion {
		return State{}, fmt.Errorf("decode archive state: it has format %d, this release reads %d", a.Version, stateVersion)
	}
	if a.TailBytes < 0 || a.TailObjects < 0 || len(a.Gaps) > maxGaps {
		return State{}, fmt.Errorf("decode archive state: it counts %d bytes, %d objects and %d gaps", a.TailBytes, a.TailObjects, len(a.Gaps))
	}
	return a, nil
}

// LoadState returns what is remembered of the volume in dir; nothing is no error.
func LoadState(disk vfs.FS, dir string) (State, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+stateFile, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	return decodeState(data)
}

func saveState(disk vfs.FS, dir string, a State) error {
	a.Version = stateVersion
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode archive state: %w", err)
	}
	return vfs.ReplaceFile(disk, dir+"/"+stateFile, data)
}

// ForgetState forgets what is remembered of the volume in dir, so that it is looked up in the
// archive.
func ForgetState(disk vfs.FS, dir string) error {
	err := disk.Remove(dir + "/" + stateFile)
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget what was archived: %w", err)
	}
	return nil
}
