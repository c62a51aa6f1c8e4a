package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
)

const (
	verifyDir  = "verify" // a restored volume, while it is looked at
	mountName  = "mnt"
	verifyRoom = 1 << 30 // bytes that stay free on the disk
)

// Result is what came of restoring a volume somewhere else and looking at it.
type Result struct {
	Name    string     `json:"name"`
	At      time.Time  `json:"at"` // when it was verified
	Point   tail.Point `json:"point"`
	OK      bool       `json:"ok"`
	Error   string     `json:"error,omitempty"`
	Bytes   int64      `json:"bytes"` // that were fetched and compared with their digests
	Seconds float64    `json:"seconds"`
	Output  string     `json:"output,omitempty"` // of the command
}

// Verifier verifies the volumes of a node, and remembers what came of it.
type Verifier struct {
	node archiver.Node
	open Open

	mu      sync.Mutex // guards results
	results results
}

// Open opens a volume's newest point in the archive. It stays there until release is called.
type Open func(ctx context.Context, v archiver.Volume) (src *archive.Source, release func(), err error)

// New returns a verifier that remembers nothing yet.
func New(node archiver.Node, open Open) *Verifier { return &Verifier{node: node, open: open} }

// Verify restores a volume at its newest point into a file of its own, every byte compared
// with its digest; mounts it, which replays the journal; runs the command there, if there
// is one; and checks the filesystem. Nothing of the volume itself is touched.
func (v *Verifier) Verify(ctx context.Context, vol archiver.Volume, command string, report func(archive.Progress)) Result {
	start := time.Now()
	r := Result{Name: vol.Name, At: start.UTC()}
	err := v.verify(ctx, vol, command, &r, report)
	r.Seconds = time.Since(start).Seconds()
	r.OK = err == nil
	if err != nil {
		r.Error = err.Error()
	}
	if err == nil || isVerdict(err) {
		v.note(vol, r)
	}
	return r
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

func (v *Verifier) verify(ctx context.Context, vol archiver.Volume, command string, r *Result, report func(archive.Progress)) (err error) {
	src, release, err := v.open(ctx, vol)
	if err != nil {
		return err
	}
	defer release()
	r.Point = src.Point()
	if free, err := freeSpace(v.node.DataDir); err != nil || int64(free) < src.FetchBytes()+verifyRoom { //nolint:gosec // a disk has less than 8 EiB
		return errors.Join(err, fmt.Errorf("the disk of %s has no room for %d MiB", v.node.DataDir, src.FetchBytes()>>20))
	}
	dir, err := v.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image := filepath.Join(dir, "image")
	if r.Bytes, err = writeImage(ctx, src, image, report); err != nil {
		return fmt.Errorf("read it from the archive: %w", err)
	}
	if err := lookAt(ctx, vol, image, filepath.Join(dir, mountName), command, r); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errLooked, err)
	}
	return nil
}

// folder makes an empty folder.
func (v *Verifier) folder() (string, error) {
	if err := os.MkdirAll(filepath.Join(v.node.DataDir, verifyDir), 0o700); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Join(v.node.DataDir, verifyDir), "")
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

// freeSpace returns how many bytes can be written on the disk of dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
