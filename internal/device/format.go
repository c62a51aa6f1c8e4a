package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// edge is how much at both ends of a device must be zeros for it to be blank.
const edge = 1 << 20

// minXFS is the smallest filesystem that mkfs.xfs makes, in bytes.
const minXFS = 300 << 20

// begun is the first block of a device whose format has begun and not ended. It
// is written first and replaced last, in one block, so that a format is there
// whole or not at all (B1).
func begun() []byte {
	block := make([]byte, ballast.BlockSize)
	copy(block, "Ballast is formatting this volume. There is no data in it yet.\n")
	return block
}

// content is what probe found on a device.
type content struct {
	blank bool
	what  string // as blkid calls it: ext4, xfs, dos partition table, …; "" if it knows it not
}

// probe says what is on the served file.
func probe(ctx context.Context, s served, f *os.File, size int64) (content, error) {
	var zeros, interrupted bool
	err := s.do(ctx, func() error {
		head, tail := make([]byte, min(edge, size)), make([]byte, min(edge, size))
		if _, err := f.ReadAt(head, 0); err != nil {
			return err
		}
		if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
			return err
		}
		zeros = isZero(head) && isZero(tail)
		interrupted = bytes.HasPrefix(head, begun())
		return nil
	})
	if err != nil {
		return content{}, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if interrupted {
		return content{blank: true}, nil
	}
	what, err := identify(ctx, s, f.Name())
	return content{blank: zeros && what == "", what: what}, err
}

// identify asks blkid, which knows far more formats than we need to.
func identify(ctx context.Context, s served, path string) (string, error) {
	out, err := s.command(ctx, "blkid", "-p", "-o", "export", path)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		return "", nil // nothing that it knows
	} else if ok && exit.ExitCode() == 8 {
		return "several formats at once", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for a filesystem: %w", err)
	}
	found := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[key] = value
	}
	switch {
	case found["TYPE"] != "":
		return found["TYPE"], nil
	case found["PTTYPE"] != "":
		return found["PTTYPE"] + " partition table", nil
	default:
		return "something that blkid knows", nil
	}
}

// isZero reports whether p holds only zeros.
func isZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:])
}

// format makes the filesystem of spec on the blank served file f. It is made in a
// sparse file beside the volume's and copied in, for three reasons: mkfs never waits for
// the device, zeros are not written, and the first block can come last.
func format(ctx context.Context, s served, spec Spec, f *os.File, size int64) error {
	if spec.Filesystem == ballast.XFS && size < minXFS {
		return fmt.Errorf("format volume with xfs: %d MiB is too small, xfs needs %d MiB: %w; use fs=ext4 or a larger size",
			size>>20, minXFS>>20, ballast.ErrInvalid)
	}
	draft, err := unnamed(filepath.Dir(s.dir), size)
	if err != nil {
		return fmt.Errorf("format volume with %s: %w", spec.Filesystem, err)
	}
	defer draft.Close() // it has no name: gone with its last descriptor
	if err := mkfs(ctx, spec, draft); err != nil {
		return fmt.Errorf("format volume with %s: %w; nothing was changed", spec.Filesystem, err)
	}
	err = s.do(ctx, func() error { return install(f, draft, size) })
	if err != nil {
		return fmt.Errorf("format volume with %s: %w; the next attach starts over", spec.Filesystem, err)
	}
	return nil
}

// unnamed makes a sparse file of a size without a name.
func unnamed(dir string, size int64) (*os.File, error) {
	f, err := os.CreateTemp(dir, "format-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// draftPath is how a program that was given the draft as descriptor 3 opens it.
const draftPath = "/proc/self/fd/3"

func mkfs(ctx context.Context, spec Spec, draft *os.File) error {
	var none served // nothing to abort: the draft is a plain file
	if spec.Filesystem == ballast.XFS {
		return mkfsXFS(ctx, none, spec, draft)
	}
	return mkfsExt4(ctx, none, spec, draft)
}

func mkfsXFS(ctx context.Context, none served, spec Spec, draft *os.File) error {
	_, err := none.commandOn(ctx, draft, "mkfs.xfs", "-q", "-K", "-s", "size=4096", "-b", "size=4096", draftPath)
	if err != nil {
		return err
	}
	_, err = none.commandOn(ctx, draft, "xfs_db", "-x", "-f", "-c", "sb 0", "-c", "addr rootino",
		"-c", fmt.Sprintf("write core.mode 0%o", spec.mode()),
		"-c", fmt.Sprintf("write core.uid %d", spec.UID),
		"-c", fmt.Sprintf("write core.gid %d", spec.GID), draftPath)
	return err
}

// mkfsExt4 tells mkfs that the draft is zeros, so that no background thread
// zeroes inode tables on the mounted volume later. Before e2fsprogs 1.47 mkfs cannot be
// told; then the thread runs. No blocks are reserved: no system lives on a volume.
func mkfsExt4(ctx context.Context, none served, spec Spec, draft *os.File) error {
	options := fmt.Sprintf("nodiscard,root_owner=%d:%d", spec.UID, spec.GID)
	var err error
	for _, zeros := range []string{",assume_storage_prezeroed=1", ",lazy_itable_init=1,lazy_journal_init=1"} {
		_, err = none.commandOn(ctx, draft, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", options+zeros, draftPath)
		if err == nil {
			return tidyExt4(ctx, none, spec, draft)
		}
	}
	return err
}

// tidyExt4 sets what mkfs.ext4 has no option for: the root folder's mode, and that it
// is empty. Docker copies an image's files only into an empty volume, and
// databases refuse a folder with a lost+found; e2fsck makes one when it needs one.
func tidyExt4(ctx context.Context, none served, spec Spec, draft *os.File) error {
	mode := fmt.Sprintf("set_inode_field / mode 0%o", spec.mode())
	for _, request := range []string{mode, "rmdir lost+found"} {
		if _, err := none.commandOn(ctx, draft, "debugfs", "-w", "-R", request, draftPath); err != nil {
			return err
		}
	}
	return nil
}

// install copies what is not zero in draft to the blank f, block 0 last.
func install(f, draft *os.File, size int64) error {
	if _, err := f.WriteAt(begun(), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// What an interrupted format has left behind the first block.
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(int(f.Fd()), hole, ballast.BlockSize, size-ballast.BlockSize); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if err := copyData(f, draft, ballast.BlockSize, size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := copyData(f, draft, 0, ballast.BlockSize); err != nil {
		return err
	}
	return f.Sync()
}

// copyData copies the blocks of a range that are not zero.
func copyData(dst, src *os.File, from, to int64) error {
	buf := make([]byte, edge)
	for off := from; off < to; {
		data, err := unix.Seek(int(src.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return fmt.Errorf("look for data: %w", err)
		}
		off = max(off, data&^(ballast.BlockSize-1))
		n, err := src.ReadAt(buf[:max(0, min(edge, to-off))], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := writeNonZero(dst, buf[:n], off); err != nil {
			return err
		}
		off += edge
	}
	return nil
}

// writeNonZero writes the blocks of p that are not zero, each run of them at once.
func writeNonZero(dst *os.File, p []byte, off int64) error {
	for i := 0; i < len(p); {
		j := i
		for j < len(p) && !isZero(p[j:j+ballast.BlockSize]) {
			j += ballast.BlockSize
		}
		if j > i {
			if _, err := dst.WriteAt(p[i:j], off+int64(i)); err != nil {
				return err
			}
		}
		i = j + ballast.BlockSize
	}
	return nil
}
