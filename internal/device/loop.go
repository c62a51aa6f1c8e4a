package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// loop is a loop device by its number: 7 is /dev/loop7.
type loop int

func (l loop) path() string { return "/dev/loop" + strconv.Itoa(int(l)) }

func (l loop) sysfs(name string) string {
	return filepath.Join("/sys/block", "loop"+strconv.Itoa(int(l)), name)
}

// number returns the device number that mountinfo shows for what is mounted from l.
func (l loop) number() (uint64, error) {
	text, err := os.ReadFile(l.sysfs("dev"))
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", l.path(), err)
	}
	return parseDev(strings.TrimSpace(string(text)))
}

// backing returns the device and inode number of the file that l stands on. It
// wraps ENXIO when l stands on none. The kernel answers from what it remembers of
// the file, so a dead server does not matter.
func (l loop) backing() (dev, inode uint64, err error) {
	fd, err := unix.Open(l.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("open %s: %w", l.path(), err)
	}
	defer unix.Close(fd) // was only read
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil {
		return 0, 0, fmt.Errorf("ask %s for its file: %w", l.path(), err)
	}
	return info.Device, info.Inode, nil
}

// on says whether l stands on the file of the FUSE filesystem dev. A device that
// does not answer is not ours (B3).
func (l loop) on(dev uint64) bool {
	d, inode, err := l.backing()
	return err == nil && d == dev && inode == fileNode
}

// loopsOn returns the loop devices that stand on the file of the FUSE filesystem dev.
func loopsOn(dev uint64) ([]loop, error) {
	bound, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	var found []loop
	for _, path := range bound {
		name, err := os.ReadFile(path)
		// Its path proves nothing, but spares a device of somebody else the opening.
		if err != nil || !strings.Contains(string(name), "/"+FileName) {
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(strings.Split(path, "/")[3], "loop"))
		if err == nil && loop(n).on(dev) {
			found = append(found, loop(n))
		}
	}
	return found, nil
}

// bindTries bounds how often another process may take the free device that the
// kernel named before we do.
const bindTries = 100

// bind gives the file a loop device. The caller must unbind it.
func bind(f *os.File) (_ loop, err error) {
	ctl, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open /dev/loop-control: %w; run `modprobe loop` or ask `ballast doctor`", err)
	}
	defer unix.Close(ctl) // holds nothing
	for range bindTries {
		n, err := unix.IoctlRetInt(ctl, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return 0, fmt.Errorf("find a free loop device: %w", err)
		}
		if err = loop(n).configure(f); err == nil {
			return loop(n), nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("find a free loop device: others took all of the %d that were offered; try again", bindTries)
}

func (l loop) configure(f *os.File) error {
	fd, err := unix.Open(l.path(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.path(), err)
	}
	defer unix.Close(fd) // the binding stays
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: ballast.BlockSize}
	config.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:len(config.Info.File_name)-1], f.Name()) // for people, cut when long
	if err := unix.IoctlLoopConfigure(fd, &config); err != nil {
		return fmt.Errorf("bind %s to %s: %w", l.path(), f.Name(), err)
	}
	return nil
}

// verify refuses a device on which an acknowledgement would not hold (B2).
func (l loop) verify() error {
	for _, want := range []struct{ attribute, value, otherwise string }{
		{"loop/dio", "1", "writes would stop in the page cache and an fsync would not reach the volume"},
		{"queue/logical_block_size", "4096", "writes smaller than a block would be read, changed and written back"},
		{"queue/write_cache", "write back", "the kernel would send no flushes and an fsync would mean nothing"},
	} {
		got, err := l.attribute(want.attribute)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("%s has %s %q, not %q: %s; nothing was mounted; run `ballast doctor`",
				l.path(), want.attribute, got, want.value, want.otherwise)
		}
	}
	return nil
}

func (l loop) attribute(name string) (string, error) {
	text, err := os.ReadFile(l.sysfs(name))
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", l.path(), err)
	}
	return strings.TrimSpace(string(text)), nil
}

// unbind takes the file from l and waits until it is gone: the kernel does it when
// the last one who has l open lets go. It wraps [ballast.ErrInUse] when that does
// not happen before ctx ends.
func (l loop) unbind(ctx context.Context, dev uint64) error {
	fd, err := unix.Open(l.path(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.path(), err)
	}
	// Only now is it sure whose device this is: while it is open it is not given to
	// anybody else, and before it may have been.
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil && info.Device == dev && info.Inode == fileNode {
		err = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
	}
	unix.Close(fd) // this is what frees it
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("unbind %s: %w", l.path(), err)
	}
	// udev, for one, may look at the device just now.
	for wait := time.Millisecond; l.on(dev); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("unbind %s: something still has it open (%s): %w", l.path(), l.holders(), ballast.ErrInUse)
		}
	}
	return nil
}

// busy says whether anything has l mounted or open for itself, in any mount namespace.
func (l loop) busy() (bool, error) {
	fd, err := unix.Open(l.path(), unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", l.path(), err)
	}
	unix.Close(fd) // was only read
	return false, nil
}

// holders names the processes in whose mount namespaces l is mounted.
func (l loop) holders() string {
	number, err := l.number()
	if err != nil {
		return "unknown"
	}
	var names []string
	all, _ := filepath.Glob("/proc/[0-9]*/mountinfo") // the pattern is well-formed
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), fmt.Sprintf(" %d:%d ", unix.Major(number), unix.Minor(number))) {
			continue // it ended, or does not see l
		}
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm")) // it may have ended
		names = append(names, fmt.Sprintf("%s %s", filepath.Base(filepath.Dir(path)), strings.TrimSpace(string(name))))
	}
	if len(names) == 0 {
		return "no process shows it mounted"
	}
	const enough = 5
	if len(names) > enough {
		names = append(names[:enough], "…")
	}
	return "mounted for process " + strings.Join(names, ", ")
}

// resize makes l as large as its file.
func (l loop) resize() error {
	fd, err := unix.Open(l.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.path(), err)
	}
	defer unix.Close(fd) // was only told
	if err := unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", l.path(), err)
	}
	return nil
}

// size returns the size of l in bytes.
func (l loop) size() (int64, error) {
	text, err := l.attribute("size")
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("look at size of %s: %w", l.path(), err)
	}
	return sectors * 512, nil // sysfs counts so, whatever the block size
}

// tune sets what the kernel would guess wrong.
func (l loop) tune() error {
	for name, value := range map[string]string{
		"queue/max_sectors_kb": "1024", // one request of FUSE; 1280 would be cut in 1024 and 256
		"queue/read_ahead_kb":  "1024", // 128 is one request at a time, and each is a round trip to the engine
	} {
		if err := os.WriteFile(l.sysfs(name), []byte(value), 0); err != nil {
			return fmt.Errorf("tune %s: %w", l.path(), err)
		}
	}
	return nil
}
