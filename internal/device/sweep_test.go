package device

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/test/freeze"
)

// serveInChild serves at deviceFile in a process of its own.
func serveInChild(t *testing.T, deviceFile string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), serveVariable+"="+filepath.Dir(deviceFile))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill(cmd)
		if err := Sweep(context.Background(), deviceFile); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "child serves", func() bool {
		s, err := locate(deviceFile)
		return err == nil && s.dev != 0
	})
	return cmd
}

// sweepWithin sweeps for as long as d.
func sweepWithin(t *testing.T, deviceFile string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return Sweep(ctx, deviceFile)
}

// kill may be repeated.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// A dead server is swept, as often as one likes; another volume is not touched.
func TestSweep(t *testing.T) {
	device, mountpoint := place(t)
	other, otherMountpoint := place(t)
	spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true}
	otherSpec := Spec{DeviceFile: other, Mountpoint: otherMountpoint, Filesystem: ballast.Ext4, MayFormat: true}
	serveInChild(t, other)
	attach(t, otherSpec)

	for range 3 {
		cmd := serveInChild(t, device)
		attach(t, spec)
		busy, err := os.Create(filepath.Join(mountpoint, "open")) // a process that has not noticed
		if err != nil {
			t.Fatal(err)
		}
		kill(cmd)
		if err := sweepWithin(t, device, time.Second); !errors.Is(err, ballast.ErrInUse) {
			t.Errorf("sweep = %v; want in use", err)
		}
		if err := sweepWithin(t, device, time.Minute); err != nil {
			t.Errorf("swept again: %v", err)
		}
		busy.Close() // fails or not: its volume is gone
		checkNothingMounted(t, filepath.Dir(filepath.Dir(device)))
	}
	name := filepath.Join(otherMountpoint, "alive")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	run(t, "sync", name)
}

func checkNothingMounted(t *testing.T, base string) {
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
}

// Several dead servers upon each other, as crashes without a sweep leave them.
func TestSweepStacked(t *testing.T) {
	device, mountpoint := place(t)
	spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true}
	for range 3 {
		before, _ := locate(device) // its zero value when there is none yet
		cmd := serveInChild(t, device)
		eventually(t, "new server is on top", func() bool {
			s, err := locate(device)
			return err == nil && s.dev != before.dev
		})
		attach(t, spec)
		kill(cmd)
	}
	if err := Sweep(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	checkNothingMounted(t, filepath.Dir(filepath.Dir(device)))
}

// B4: with the server stopped, every call ends with its context, and everything
// can be swept.
func TestStoppedServer(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func(ctx context.Context, spec Spec) error
	}{
		{"attach", func(ctx context.Context, spec Spec) error { _, err := Attach(ctx, spec, quiet()); return err }},
		{"detach", func(ctx context.Context, spec Spec) error { return Detach(ctx, spec.DeviceFile) }},
		{"grow", func(ctx context.Context, spec Spec) error { return Grow(ctx, spec.DeviceFile, 64<<20) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			device, mountpoint := place(t)
			spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true}
			cmd := serveInChild(t, device)
			if tt.name != "attach" {
				attach(t, spec)
				if err := os.WriteFile(filepath.Join(mountpoint, "dirty"), make([]byte, 1<<20), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			freeze.Process(t, cmd.Process.Pid)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := tt.call(ctx, spec); !errors.Is(err, context.DeadlineExceeded) && tt.name != "detach" {
				t.Errorf("%s = %v; want deadline exceeded", tt.name, err)
			}
			kill(cmd)
			if err := Sweep(t.Context(), device); err != nil {
				t.Error(err)
			}
		})
	}
}

// hold runs a script in a mount namespace of its own until the returned function is
// called. Its first line of output says that the script has done its work.
func hold(t *testing.T, script string) (pid string, release func()) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", script+"; echo ready; exec cat")
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if _, err := stdout.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(cmd.Process.Pid), func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}

// B5: what another namespace has mounted, as a container does, keeps the loop
// device, and Detach says so.
func TestDetachWhileMountedElsewhere(t *testing.T) {
	device, mountpoint := place(t)
	serve(t, device, newMemory(64<<20))
	at := attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	pid, release := hold(t, "mount --bind "+mountpoint+" "+t.TempDir())
	err := Detach(t.Context(), device)
	if !errors.Is(err, ballast.ErrInUse) || !strings.Contains(err.Error(), pid) {
		t.Errorf("detach = %v; want in use by process %s", err, pid)
	}
	if got, err := Find(device); got.Loop != at.Loop || got.Mountpoint != "" || err != nil {
		t.Errorf("find = %+v, %v; want %s, not mounted", got, err, at.Loop)
	}
	release()
	eventually(t, "detached", func() bool { return Detach(t.Context(), device) == nil })
}

// A namespace that only got a copy of all mounts keeps neither the volume nor its
// server. It once kept an engine from ending for nine minutes.
func TestDetachWithStaleCopy(t *testing.T) {
	device, mountpoint := place(t)
	_, stop := serve(t, device, newMemory(64<<20))
	attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	_, release := hold(t, "true")
	stop()
	release()
}

// An open file keeps the volume mounted.
func TestDetachWhileOpen(t *testing.T) {
	device, mountpoint := place(t)
	serve(t, device, newMemory(64<<20))
	attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	f, err := os.Create(filepath.Join(mountpoint, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Detach(t.Context(), device); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("detach = %v; want in use", err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// A server that a loop device stands on is not unmounted.
func TestUnmountWhileInUse(t *testing.T) {
	device, mountpoint := place(t)
	s, _ := serve(t, device, newMemory(64<<20))
	attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	if err := s.Unmount(); !errors.Is(err, ballast.ErrInUse) || !s.InUse() {
		t.Errorf("unmount = %v, in use %t; want in use", err, s.InUse())
	}
	if err := Detach(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	<-s.Released()
	eventually(t, "released", func() bool { return !s.InUse() })
}

// A cancelled server takes the filesystem with it, whoever uses it.
func TestCancelledServer(t *testing.T) {
	device, mountpoint := place(t)
	s, err := Mount(filepath.Dir(device), newMemory(64<<20), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	at := attach(t, Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4, MayFormat: true})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// Its filesystem is not in mountinfo any more: this is the one leftover that
	// only its maker can name.
	run(t, "umount", mountpoint)
	run(t, "losetup", "-d", at.Loop)
}
