package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	resultsFile    = "verify.json" // what came of it
	maxResults     = 16 << 20
	resultsVersion = 1
)

// CondNotVerified is the condition of a volume that did not stand its last test.
const CondNotVerified = "archive-not-verified"

// results are those of every volume, as in the file.
type results struct {
	Version int                         `json:"version"`
	Volumes map[ballast.VolumeID]Result `json:"volumes"`
}

// note keeps the result, for status and for the next agent.
func (v *Verifier) note(vol archiver.Volume, r Result) {
	if r.OK {
		v.node.Health.Clear(vol.ID, CondNotVerified)
	} else {
		v.node.Health.Raise(vol.ID, CondNotVerified, fmt.Sprintf("What the archive has of volume %q did not stand a test restore: %s. The volume itself is not touched.", vol.Name, r.Error),
			fmt.Sprintf("see `ballast volume history %s` and `ballast archive check --read-data`; a new `ballast volume snapshot %s` may mend it", vol.Name, vol.Name))
	}
	v.mu.Lock()
	if v.results.Volumes == nil {
		v.results.Volumes = map[ballast.VolumeID]Result{}
	}
	v.results.Version = resultsVersion
	v.results.Volumes[vol.ID] = r
	data, err := json.Marshal(v.results)
	v.mu.Unlock()
	if err == nil {
		err = vfs.ReplaceFile(v.node.Disk, resultsFile, data)
	}
	if err != nil {
		v.node.Quiet.Warn("verified", "what came of verifying is not kept for the next agent", "error", err)
	}
}

// Load takes in what the last agent found, and takes away what it left of it.
func (v *Verifier) Load(ctx context.Context) {
	v.sweep(ctx)
	data, err := vfs.ReadFile(v.node.Disk, resultsFile, maxResults)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var stored results
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	if err != nil || stored.Version != resultsVersion {
		v.node.Log.Warn("what came of verifying is not known any more", "error", err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.results = stored
}

// sweep takes away what an agent left that ended in the middle.
func (v *Verifier) sweep(ctx context.Context) {
	left, err := os.ReadDir(filepath.Join(v.node.DataDir, verifyDir))
	if err != nil {
		return // there is none, as a rule
	}
	ctx, cancel := context.WithTimeout(ctx, sweepBudget)
	defer cancel()
	for _, e := range left {
		dir := filepath.Join(v.node.DataDir, verifyDir, e.Name())
		_ = unmountImage(ctx, filepath.Join(dir, mountName)) // as a rule nothing is mounted there
		if err := os.RemoveAll(dir); err != nil {
			v.node.Log.Warn("what an interrupted verification left is still there", "dir", dir, "error", err)
		}
	}
}

// Last returns when a volume was verified last; zero: none was.
func (v *Verifier) Last() (at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.results.Volumes {
		if r.At.After(at) {
			at = r.At
		}
	}
	return at
}

// Of returns the result of a volume's last test.
func (v *Verifier) Of(id ballast.VolumeID) (Result, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.results.Volumes[id]
	return r, ok
}
