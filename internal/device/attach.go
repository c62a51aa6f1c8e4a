package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// Spec says what Attach is to bring about.
type Spec struct {
	DeviceFile string // the served file: the folder given to Mount, and FileName
	Mountpoint string // made when it is missing
	Filesystem ballast.Filesystem
	MayFormat  bool   // false: the volume has been in use, so finding it blank is an error
	UID, GID   int    // owner of the root folder; counts at the format only
	Mode       uint32 // of the root folder, as chmod takes it; 0 is 0755; counts at the format only
}

// mode is the whole mode of the root folder.
func (s Spec) mode() uint32 {
	if s.Mode == 0 {
		return unix.S_IFDIR | 0o755
	}
	return unix.S_IFDIR | s.Mode&0o7777
}

// Attachment is a volume's device as the kernel has it.
type Attachment struct {
	DeviceFile string
	Loop       string             // /dev/loop7
	Mountpoint string             // "" when it is not mounted
	Filesystem ballast.Filesystem // "" when it is not mounted
	Formatted  bool               // Attach has just made the filesystem
}

// undoTime bounds the undoing of a step that failed, whose own context may be over.
const undoTime = 10 * time.Second

// Attach binds a loop device to the served file, formats it when it is blank, and
// mounts it. What is there already, such as after a crash of the caller, is used. A failed
// Attach leaves nothing behind. See B1 and B2.
func Attach(ctx context.Context, spec Spec, log *slog.Logger) (_ Attachment, err error) {
	at := Attachment{DeviceFile: spec.DeviceFile}
	defer func() {
		if err != nil {
			err = fmt.Errorf("attach %s: %w", spec.DeviceFile, err)
		}
	}()
	s, err := locate(spec.DeviceFile)
	if err != nil {
		return at, err
	}
	l, bound, err := s.loop()
	if err != nil {
		return at, err
	}
	if !bound {
		if l, at.Formatted, err = s.prepare(ctx, spec, log); err != nil {
			return at, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(ctx, spec.DeviceFile))
		}
	}()
	if err := errors.Join(l.verify(), l.tune()); err != nil {
		return at, err
	}
	at.Loop = l.path()
	at.Mountpoint, at.Filesystem, err = s.mountOn(ctx, l, spec, log)
	return at, err
}

// undo takes away what a failed Attach has made; its own context may be over.
func undo(ctx context.Context, deviceFile string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	return Detach(ctx, deviceFile)
}

// locate finds the FUSE filesystem of a served file.
func locate(deviceFile string) (served, error) {
	dir, err := servedDir(deviceFile)
	if err != nil {
		return served{}, err
	}
	s, err := servedAt(dir)
	if err == nil && s.dev == 0 {
		err = fmt.Errorf("no engine serves %s: %w", deviceFile, ballast.ErrNotFound)
	}
	return s, err
}

// servedDir is the folder of a served file as mountinfo shows it. The folder itself
// is not looked at: whoever serves it may be dead or stopped.
func servedDir(deviceFile string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(deviceFile))
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", deviceFile, err)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", deviceFile, err)
	}
	return filepath.Join(parent, filepath.Base(dir)), nil
}

// loop returns the loop device on the served file, if there is one.
func (s served) loop() (loop, bool, error) {
	loops, err := loopsOn(s.dev)
	if err != nil || len(loops) == 0 {
		return 0, false, err
	}
	if len(loops) > 1 {
		return 0, false, fmt.Errorf("%d loop devices stand on one volume, such as %s and %s; unmount and `losetup -d` all but one",
			len(loops), loops[0].path(), loops[1].path())
	}
	return loops[0], true, nil
}

// prepare makes sure that the right filesystem is on the served file, and binds a
// loop device to it.
func (s served) prepare(ctx context.Context, spec Spec, log *slog.Logger) (_ loop, formatted bool, err error) {
	var f *os.File
	err = s.do(ctx, func() (err error) {
		f, err = openServed(filepath.Join(s.dir, FileName))
		return err
	})
	if err != nil {
		return 0, false, err
	}
	defer f.Close() // the server has no flush on close to fail
	if formatted, err = s.ensureFilesystem(ctx, spec, f, log); err != nil {
		return 0, false, err
	}
	var l loop
	err = s.do(ctx, func() (err error) {
		l, err = bind(f)
		return err
	})
	return l, formatted, err
}

// openServed opens a served file. [os.OpenFile] would offer it to the runtime's poller,
// which, unlike for other regular files, sends a request to the server, and waits for the
// answer where the whole runtime waits too.
func openServed(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (s served) ensureFilesystem(ctx context.Context, spec Spec, f *os.File, log *slog.Logger) (formatted bool, err error) {
	var size int64
	err = s.do(ctx, func() error {
		info, err := f.Stat()
		if err == nil {
			size = info.Size()
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look at device: %w", err)
	}
	found, err := probe(ctx, s, f, size)
	if err != nil {
		return false, err
	}
	if err := spec.accept(found); err != nil || !found.blank {
		return false, err
	}
	start := time.Now()
	if err := format(ctx, s, spec, f, size); err != nil {
		return false, err
	}
	log.Info("formatted volume", "device_file", spec.DeviceFile, "filesystem", spec.Filesystem, "took", time.Since(start))
	return true, nil
}

// accept decides what to do with what was found: nil and blank means format it, nil
// and not blank means mount it (B1).
func (s Spec) accept(found content) error {
	switch {
	case found.blank && s.MayFormat, found.what == string(s.Filesystem):
		return nil
	case found.blank:
		return fmt.Errorf("the volume was in use before and is blank now: its data is not here; "+
			"nothing was changed; run `ballast check` on it and restore it if you can: %w", ballast.ErrInvalid)
	case found.what == "":
		return fmt.Errorf("the volume is not blank and holds no filesystem that blkid knows, where %s was expected; "+
			"nothing was changed; if its content may go, remove the volume and create it again: %w", s.Filesystem, ballast.ErrInvalid)
	default:
		return fmt.Errorf("the volume holds %s, not %s; nothing was changed; use fs=%s if it is that, or remove the volume and create it again: %w",
			found.what, s.Filesystem, found.what, ballast.ErrInvalid)
	}
}
