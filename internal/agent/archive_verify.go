package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	verifyLook    = time.Minute
	verifyDir     = "verify"      // a restored volume, while it is looked at
	verifyFile    = "verify.json" // what came of it
	maxVerifyFile = 16 << 20
	verifyVersion = 1
	mountName     = "mnt"
	verifyRoom    = 1 << 30 // bytes that stay free on the disk
)

// verification is what came of restoring a volume somewhere else and looking at it.
type verification struct {
	Name    string     `json:"name"`
	At      time.Time  `json:"at"` // when it was verified
	Point   tail.Point `json:"point"`
	OK      bool       `json:"ok"`
	Error   string     `json:"error,omitempty"`
	Bytes   int64      `json:"bytes"` // that were fetched and compared with their digests
	Seconds float64    `json:"seconds"`
	Output  string     `json:"output,omitempty"` // of the command
}

type verifications struct {
	Version int                               `json:"version"`
	Volumes map[ballast.VolumeID]verification `json:"volumes"`
}

// Verify restores a volume at its newest point into a file of its own, every byte compared
// with its digest; mounts it, which replays the journal; runs the command there, if there
// is one; and checks the filesystem. Nothing of the volume itself is touched.
func (n *node) Verify(ctx context.Context, rec cluster.Record, command string, report func(archive.Progress)) verification {
	start := time.Now()
	v := verification{Name: rec.Name, At: start.UTC()}
	err := n.verify(ctx, rec, command, &v, report)
	v.Seconds = time.Since(start).Seconds()
	v.OK = err == nil
	if err != nil {
		v.Error = err.Error()
	}
	if err == nil || isVerdict(err) {
		n.noteVerified(rec, v)
	}
	return v
}

// errLooked begins what was found by looking at what was restored.
var errLooked = errors.New("look at what was restored")

// isVerdict reports whether an error says something of what the archive has, and not of the
// way there.
func isVerdict(err error) bool {
	var gap *archive.GapError
	var pack *repository.DamageError
	var object *tail.DamageError
	return errors.As(err, &gap) || errors.As(err, &pack) || errors.As(err, &object) || errors.Is(err, errLooked)
}

func (n *node) verify(ctx context.Context, rec cluster.Record, command string, v *verification, report func(archive.Progress)) (err error) {
	o, err := n.vault.Wait(ctx)
	if err != nil {
		return err
	}
	release, err := n.keeper.Reading(ctx)
	if err != nil {
		return err
	}
	defer release()
	src, err := n.findPoint(ctx, o, rec, moment{})
	if err != nil {
		return err
	}
	v.Point = src.Point()
	if _, free, err := diskSpace(n.cfg.DataDir); err != nil || int64(free) < src.FetchBytes()+verifyRoom { //nolint:gosec // a disk has less than 8 EiB
		return errors.Join(err, fmt.Errorf("the disk of %s has no room for %d MiB", n.cfg.DataDir, src.FetchBytes()>>20))
	}
	dir, err := n.verifyFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image := filepath.Join(dir, "image")
	if v.Bytes, err = writeImage(ctx, src, image, report); err != nil {
		return fmt.Errorf("read it from the archive: %w", err)
	}
	if err := lookAt(ctx, rec, image, filepath.Join(dir, mountName), command, v); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errLooked, err)
	}
	return nil
}

// verifyFolder makes an empty folder.
func (n *node) verifyFolder() (string, error) {
	if err := os.MkdirAll(n.path(verifyDir), 0o700); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	dir, err := os.MkdirTemp(n.path(verifyDir), "")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, mountName), 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	return dir, nil
}

// writeImage writes a restored volume as a sparse file, and returns the bytes that are not
// zeros.
func writeImage(ctx context.Context, src *archive.Source, file string, report func(archive.Progress)) (n int64, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(src.Size()); err != nil {
		return 0, err
	}
	err = src.Stream(ctx, func(chunk int, data []byte) error {
		if data == nil {
			return nil
		}
		n += int64(len(data))
		_, err := f.WriteAt(data, int64(chunk)*ballast.ChunkSize)
		return err
	}, report)
	return n, err
}

// noteVerified keeps the result, for status and for the next agent.
func (n *node) noteVerified(rec cluster.Record, v verification) {
	if v.OK {
		n.health.clear(rec.ID, condNotVerified)
	} else {
		n.health.raise(rec.ID, condNotVerified, fmt.Sprintf("What the archive has of volume %q did not stand a test restore: %s. The volume itself is not touched.", rec.Name, v.Error),
			fmt.Sprintf("see `ballast volume history %s` and `ballast archive check --read-data`; a new `ballast volume snapshot %s` may mend it", rec.Name, rec.Name))
	}
	n.mu.Lock()
	if n.verified.Volumes == nil {
		n.verified.Volumes = map[ballast.VolumeID]verification{}
	}
	n.verified.Version = verifyVersion
	n.verified.Volumes[rec.ID] = v
	data, err := json.Marshal(n.verified)
	n.mu.Unlock()
	if err == nil {
		err = vfs.ReplaceFile(n.disk, verifyFile, data)
	}
	if err != nil {
		n.quiet.warn("verified", "what came of verifying is not kept for the next agent", "error", err)
	}
}

// loadVerified takes in what the last agent found, and takes away what it left of it.
func (n *node) loadVerified(ctx context.Context) {
	n.sweepVerify(ctx)
	data, err := vfs.ReadFile(n.disk, verifyFile, maxVerifyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var v verifications
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil || v.Version != verifyVersion {
		n.log.Warn("what came of verifying is not known any more", "error", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.verified = v
}

// sweepVerify takes away what an agent left that ended in the middle.
func (n *node) sweepVerify(ctx context.Context) {
	left, err := os.ReadDir(n.path(verifyDir))
	if err != nil {
		return // there is none, as a rule
	}
	ctx, cancel := context.WithTimeout(ctx, sweepBudget)
	defer cancel()
	for _, e := range left {
		dir := n.path(verifyDir, e.Name())
		_ = unmountImage(ctx, filepath.Join(dir, mountName)) // as a rule nothing is mounted there
		if err := os.RemoveAll(dir); err != nil {
			n.log.Warn("what an interrupted verification left is still there", "dir", dir, "error", err)
		}
	}
}

// lastVerified returns when a volume stood a test restore last, and the result of the
// last test of any.
func (n *node) lastVerified() (at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.verified.Volumes {
		if v.At.After(at) {
			at = v.At
		}
	}
	return at
}

// verificationOf returns the result of a volume's last test.
func (n *node) verificationOf(id ballast.VolumeID) (verification, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.verified.Volumes[id]
	return v, ok
}

// verifyDue returns the archived volume whose test is due, the longest untested first.
func verifyDue(records []cluster.Record, done map[ballast.VolumeID]verification, every time.Duration, now time.Time) (due cluster.Record, ok bool) {
	var oldest time.Time
	for _, rec := range records {
		if !archiver.Keeps(rec.Spec.Class) || rec.Epoch == 0 {
			continue
		}
		at := done[rec.ID].At
		if now.Sub(at) >= every && (!ok || at.Before(oldest)) {
			due, oldest, ok = rec, at, true
		}
	}
	return due, ok
}

// verifyNow tests the volume that is due, if one is.
func (n *node) verifyNow(ctx context.Context) {
	n.mu.Lock()
	done := maps.Clone(n.verified.Volumes)
	n.mu.Unlock()
	rec, ok := verifyDue(n.records.List(), done, n.cfg.VerifyEvery, time.Now())
	if !ok {
		return
	}
	v := n.Verify(ctx, rec, "", nil)
	n.log.Info("verified volume", "volume", rec.Name, "ok", v.OK, "error", v.Error, "seconds", v.Seconds)
}
