package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// FileName is the name of the one file of a served folder.
const FileName = "volume"

// fuseType is the filesystem type of a served folder in mountinfo.
const fuseType = "fuse.ballast"

// Store is what a device shows: a range of bytes with a volatile cache. Offsets
// and lengths are multiples of [ballast.BlockSize] and lie within Size. It must
// be safe for concurrent use. An error that wraps ENOSPC reaches the reader or
// writer as that, every other one as EIO.
type Store interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Flush() error // everything whose WriteAt returned before is durable
	Discard(off, n int64) error
	Size() int64
}

// Eager is a [Store] that has use for the moment after a write was answered.
type Eager interface {
	Written() // may take its time: the request that comes next is another worker's
}

const (
	// maxIO is the largest read or write in bytes: what the kernel's limit of 256
	// pages allows.
	maxIO = 1 << 20

	// Workers is how many requests are served at a time: the most reads that
	// can wait for the disk side by side.
	Workers = 16

	// maxBackground is how many requests of the loop device the kernel lets wait
	// in user space. Its default of 12 is below the depth of one busy disk.
	maxBackground = 256
)

// Server is a mounted one-file filesystem. It answers once Run runs.
type Server struct {
	dir   string // absolute, constant after Mount
	store Store
	log   *slog.Logger
	fd    int // of /dev/fuse; closed by Run

	open atomic.Int64  // open files that the kernel holds
	idle chan struct{} // holds one token when open fell to 0
}

// Mount mounts a one-file filesystem over the folder dir, which it makes when it is
// missing, to be served by Run. Until then everything that touches dir waits.
func Mount(dir string, store Store, log *slog.Logger) (_ *Server, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("mount device at %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("mount device: %w", err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w; run `modprobe fuse` or ask `ballast doctor`", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d", fd, os.Geteuid(), os.Getegid(), maxIO)
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME
	if err := unix.Mount("ballast", dir, fuseType, flags, options); err != nil {
		unix.Close(fd) // nothing was written through it
		return nil, fmt.Errorf("mount device at %s: %w", dir, err)
	}
	return &Server{dir: dir, store: store, log: log, fd: fd, idle: make(chan struct{}, 1)}, nil
}

// Run serves until the filesystem is unmounted, which is no error. When ctx ends
// first, the filesystem goes away at once: what is open on it fails with ENOTCONN.
func (s *Server) Run(ctx context.Context) error {
	defer unix.Close(s.fd) // the last word to the kernel: nobody serves this any more
	var g errgroup.Group
	for range Workers {
		g.Go(s.work)
	}
	stop := context.AfterFunc(ctx, func() {
		if err := unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
			s.log.Error("cannot unmount device", "dir", s.dir, "error", err)
		}
	})
	defer stop()
	if err := g.Wait(); err != nil {
		return fmt.Errorf("serve device at %s: %w", s.dir, err)
	}
	return nil
}

// Unmount ends the service, unless something has the file open: that is
// [ballast.ErrInUse] and changes nothing. It removes the folder too.
func (s *Server) Unmount() error {
	err := unix.Unmount(s.dir, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = ballast.ErrInUse
	}
	if err != nil {
		return fmt.Errorf("unmount device at %s: %w", s.dir, err)
	}
	removeMountpoint(s.dir) // or a copy in another namespace would keep Run running
	return nil
}

// InUse says whether something, such as a loop device, has the file open.
func (s *Server) InUse() bool { return s.open.Load() > 0 }

// Released gets a token each time the last open file is closed.
func (s *Server) Released() <-chan struct{} { return s.idle }

// DeviceNumber returns the device number of the mounted filesystem: the st_dev of
// its file. Run must be running.
func (s *Server) DeviceNumber() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(s.dir, &st); err != nil {
		return 0, fmt.Errorf("stat device at %s: %w", s.dir, err)
	}
	return st.Dev, nil
}

// work serves requests one by one. A fixed set of workers that read, serve and
// answer is what costs least: see docs/decisions/0003-serve-fuse-ourselves.md.
func (s *Server) work() error {
	// Outside the Go heap, so that a MiB per worker neither feeds the collector nor
	// is there before it is used, and so that data is page-aligned for direct I/O.
	mem, err := unix.Mmap(-1, 0, headroom+maxIO, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map buffer: %w", err)
	}
	defer func() { _ = unix.Munmap(mem) }() // cannot fail for what Mmap returned
	r := request{server: s, mem: mem}
	for {
		n, err := unix.Read(s.fd, mem[requestAt:])
		switch {
		case err == nil:
			r.serve(n)
		case errors.Is(err, unix.ENODEV):
			return nil // unmounted
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			// A signal, or a request that was taken back while being read.
		default:
			return fmt.Errorf("read request: %w", err)
		}
	}
}
