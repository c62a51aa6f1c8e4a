package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// serveVariable makes the test binary a server that can be killed.
const serveVariable = "BALLAST_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveVariable); dir != "" {
		if err := serveForKilling(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveForKilling(dir string) error {
	s, err := Mount(dir, newMemory(64<<20), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Run(context.Background())
}

// needKernel skips where the kernel's part cannot be had.
func needKernel(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts filesystems and binds loop devices")
	}
	for _, path := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("needs %s: %v", path, err)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// place makes the folder of a volume and checks at the end that nothing is left on it.
func place(t *testing.T) (deviceFile, mountpoint string) {
	t.Helper()
	return placeAt(t, t.TempDir())
}

func placeAt(t *testing.T, base string) (deviceFile, mountpoint string) {
	t.Helper()
	needKernel(t)
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		t.Fatal(err)
	}
	dev := filepath.Join(base, "dev")
	if err := os.MkdirAll(dev, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkNothingLeft(t, base) })
	return filepath.Join(dev, FileName), filepath.Join(base, "mnt", "data")
}

// checkNothingLeft is G8 for one volume. It looks only below base: other tests run
// on this machine.
func checkNothingLeft(t *testing.T, base string) {
	t.Helper()
	all, err := mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if strings.HasPrefix(m.target, base) {
			t.Errorf("mount left behind: %+v", m)
		}
	}
	bound, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, path := range bound {
		if name, _ := os.ReadFile(path); strings.HasPrefix(string(name), base) {
			t.Errorf("loop device left behind: %s on %s", path, name)
		}
	}
}

// serve serves store at deviceFile until the test ends, or until the returned function is
// called. It detaches first.
func serve(t *testing.T, deviceFile string, store Store) (*Server, func()) {
	t.Helper()
	s, err := Mount(filepath.Dir(deviceFile), store, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := Detach(context.Background(), deviceFile); err != nil {
			t.Error(err)
		}
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func attach(t *testing.T, spec Spec) Attachment {
	t.Helper()
	at, err := Attach(t.Context(), spec, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// eventually polls real state: the kernel does some things when it likes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func filesystems(t *testing.T, f func(t *testing.T, fs ballast.Filesystem)) {
	for _, fs := range ballast.Filesystems() {
		t.Run(string(fs), func(t *testing.T) { f(t, fs) })
	}
}

// A volume is formatted at its first attach only, with the owner and mode asked
// for, and keeps what was written.
func TestAttach(t *testing.T) {
	filesystems(t, func(t *testing.T, fs ballast.Filesystem) {
		device, mountpoint := place(t)
		store := newMemory(512 << 20)
		spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: fs, MayFormat: true, UID: 70, GID: 71, Mode: 0o2750}
		_, stop := serve(t, device, store)
		if at := attach(t, spec); !at.Formatted {
			t.Errorf("first attach = %+v; want formatted", at)
		}
		var st unix.Stat_t
		if err := unix.Stat(mountpoint, &st); err != nil || st.Uid != 70 || st.Gid != 71 || st.Mode&0o7777 != 0o2750 {
			t.Errorf("root = %d:%d %o, %v; want 70:71 2750", st.Uid, st.Gid, st.Mode&0o7777, err)
		}
		if names, err := os.ReadDir(mountpoint); len(names) != 0 || err != nil {
			t.Errorf("root holds %v, %v; want nothing", names, err)
		}
		if err := os.WriteFile(filepath.Join(mountpoint, "f"), []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
		stop()

		spec.MayFormat, spec.UID = false, 0
		_, stop = serve(t, device, store)
		if at := attach(t, spec); at.Formatted {
			t.Errorf("second attach = %+v; want not formatted", at)
		}
		if got, err := os.ReadFile(filepath.Join(mountpoint, "f")); string(got) != "kept" || err != nil {
			t.Errorf("read %q, %v; want kept", got, err)
		}
		stop()
	})
}

// B2, as the kernel reports it.
func TestLoopDevice(t *testing.T) {
	device, mountpoint := place(t)
	serve(t, device, newMemory(64<<20))
	at := attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	for name, want := range map[string]string{
		"loop/dio": "1", "queue/logical_block_size": "4096", "queue/physical_block_size": "4096",
		"queue/write_cache": "write back", "queue/scheduler": "[none]",
	} {
		got, err := os.ReadFile("/sys/block/" + filepath.Base(at.Loop) + "/" + name)
		if !strings.Contains(string(got), want) || err != nil {
			t.Errorf("%s = %q, %v; want %s", name, got, err, want)
		}
	}
}

// An fsync is a Flush, and freed blocks are discarded.
func TestFlushAndDiscard(t *testing.T) {
	filesystems(t, func(t *testing.T, fs ballast.Filesystem) {
		device, mountpoint := place(t)
		store := newMemory(512 << 20)
		serve(t, device, store)
		attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: fs, MayFormat: true})
		f, err := os.Create(filepath.Join(mountpoint, "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(bytes.Repeat([]byte("x"), 32<<20)); err != nil {
			t.Fatal(err)
		}
		before := store.flushes.Load()
		if err := f.Sync(); err != nil || store.flushes.Load() == before {
			t.Errorf("fsync = %v with %d flushes; want at least one", err, store.flushes.Load()-before)
		}
		if err := errors.Join(f.Truncate(0), f.Sync()); err != nil {
			t.Fatal(err)
		}
		store.discarded.Store(0)
		run(t, "fstrim", mountpoint)
		if got := store.discarded.Load(); got < 32<<20 {
			t.Errorf("fstrim discarded %d bytes; want at least 32 MiB", got)
		}
		if store.written.Load() == 0 { // there were more writes than workers, so one has come back for another
			t.Error("the store was not told of a write that was answered")
		}
	})
}

// A failing store fails the fsync, and nothing pretends otherwise (G6).
func TestFailingStore(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want unix.Errno
	}{
		{"full disk", fmt.Errorf("append: %w", unix.ENOSPC), unix.ENOSPC},
		{"any other", fmt.Errorf("append: %w", unix.EACCES), unix.EIO},
		{"no errno", io.ErrShortWrite, unix.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			device, _ := place(t)
			store := newMemory(64 << 20)
			serve(t, device, store)
			f, err := openServed(device)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			store.setFail(tt.err)
			if _, err := f.WriteAt(make([]byte, 4096), 0); !errors.Is(err, tt.want) {
				t.Errorf("write = %v; want %v", err, tt.want)
			}
			if err := f.Sync(); !errors.Is(err, tt.want) {
				t.Errorf("sync = %v; want %v", err, tt.want)
			}
			if n := store.written.Load(); n > 0 {
				t.Errorf("the store was told of %d writes that failed", n)
			}
		})
	}
}

// Growth while files are written.
func TestGrow(t *testing.T) {
	filesystems(t, func(t *testing.T, fs ballast.Filesystem) {
		device, mountpoint := place(t)
		if fs == ballast.Ext4 && !mayResize(t) {
			t.Skip("needs CAP_SYS_RESOURCE, which this machine keeps from root: ext4 refuses to grow without")
		}
		store := newMemory(400 << 20)
		serve(t, device, store)
		attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: fs, MayFormat: true})
		ctx, cancel := context.WithCancel(t.Context())
		written := make(chan error, 1)
		go func() { written <- keepWriting(ctx, filepath.Join(mountpoint, "busy")) }()
		for _, size := range []int64{500 << 20, 1 << 30} {
			store.size.Store(size)
			if err := Grow(t.Context(), device, size); err != nil {
				t.Error(err)
			}
			var st unix.Statfs_t
			if err := unix.Statfs(mountpoint, &st); err != nil || int64(st.Blocks)*st.Bsize < size*8/10 {
				t.Errorf("filesystem has %d bytes, %v; want about %d", int64(st.Blocks)*st.Bsize, err, size)
			}
		}
		cancel()
		if err := <-written; err != nil {
			t.Error(err)
		}
		big := filepath.Join(mountpoint, "big")
		if err := os.WriteFile(big, bytes.Repeat([]byte("y"), 600<<20), 0o600); err != nil {
			t.Error(err)
		}
		run(t, "sync", "-f", big)
	})
}

func mayResize(t *testing.T) bool {
	t.Helper()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func keepWriting(ctx context.Context, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && err == nil {
		_, err = f.WriteAt(make([]byte, 1<<20), 0)
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

// A caller that comes back finds what it did.
func TestFind(t *testing.T) {
	device, mountpoint := place(t)
	if _, err := Find(device); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("find without a server = %v; want not found", err)
	}
	serve(t, device, newMemory(64<<20))
	if _, err := Find(device); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("find before attach = %v; want not found", err)
	}
	spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true}
	want := attach(t, spec)
	want.Formatted = false
	if got, err := Find(device); got != want || err != nil {
		t.Errorf("find = %+v, %v; want %+v", got, err, want)
	}
	if got := attach(t, spec); got != want {
		t.Errorf("attach again = %+v; want %+v", got, want)
	}
	run(t, "umount", mountpoint) // it crashed between binding and mounting
	if got := attach(t, spec); got != want {
		t.Errorf("attach unmounted = %+v; want %+v", got, want)
	}
}

// A path with spaces, and longer than any socket address or loop device name.
func TestOddPaths(t *testing.T) {
	base := filepath.Join(t.TempDir(), `a b\c`+"\td", strings.Repeat("long", 30))
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	device, mountpoint := placeAt(t, base)
	serve(t, device, newMemory(64<<20))
	want := attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	want.Formatted = false
	if got, err := Find(device); got != want || err != nil {
		t.Errorf("find = %+v, %v; want %+v", got, err, want)
	}
}

// The served file itself, as people's tools see it.
func TestServedFile(t *testing.T) {
	device, _ := place(t)
	store := newMemory(1 << 20)
	_, stop := serve(t, device, store)
	f, err := openServed(device)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("ab"), 2048), 4096); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte("x"), 1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("unaligned write = %v; want EINVAL", err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), 1<<20); !errors.Is(err, unix.EFBIG) {
		t.Errorf("write beyond the end = %v; want EFBIG", err)
	}
	got := make([]byte, 5)
	if _, err := f.ReadAt(got, 4094); string(got) != "\x00\x00aba" || err != nil {
		t.Errorf("unaligned read = %q, %v; want two zeros and aba", got, err)
	}
	if n, err := f.ReadAt(make([]byte, 8192), 1<<20-4096); n != 4096 || !errors.Is(err, io.EOF) {
		t.Errorf("read at the end = %d, %v; want 4096, EOF", n, err)
	}
	if names := run(t, "ls", filepath.Dir(device)); names != FileName+"\n" {
		t.Errorf("folder holds %q; want %s", names, FileName)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	stop()
}

// Growth while nobody has it mounted needs no privilege of its own.
func TestGrowAtAttach(t *testing.T) {
	filesystems(t, func(t *testing.T, fs ballast.Filesystem) {
		device, mountpoint := place(t)
		store := newMemory(400 << 20)
		serve(t, device, store)
		spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: fs, MayFormat: true}
		attach(t, spec)
		note := filepath.Join(mountpoint, "note")
		if err := os.WriteFile(note, []byte("still here"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Detach(t.Context(), device); err != nil {
			t.Fatal(err)
		}
		const size = 1 << 30
		store.size.Store(size)
		attach(t, spec)
		if err := Grow(t.Context(), device, size); err != nil && (fs == ballast.XFS || mayResize(t)) {
			t.Error(err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(mountpoint, &st); err != nil || int64(st.Blocks)*st.Bsize < size*8/10 {
			t.Errorf("filesystem has %d bytes, %v; want about %d", int64(st.Blocks)*st.Bsize, err, size)
		}
		if got, err := os.ReadFile(note); err != nil || string(got) != "still here" {
			t.Errorf("what was written before = %q, %v", got, err)
		}
	})
}

func FuzzParseExt4(f *testing.F) {
	f.Add(make([]byte, ext4HeaderSize))
	f.Fuzz(func(_ *testing.T, b []byte) {
		header := make([]byte, ext4HeaderSize)
		copy(header, b)
		parseExt4(header) // whatever it holds, there is an answer
	})
}
