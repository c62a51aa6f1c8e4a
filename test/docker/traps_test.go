package docker

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

// The tests of this file are the traps that Docker sets for volume drivers.

// TestCopyMountsTwiceUnderOneID: docker cp of a running container repeats the ID.
func TestCopyMountsTwiceUnderOneID(t *testing.T) {
	e := newEngine(t)
	e.runBusybox("-d", "--name", "app", "-v", "db:/mnt", "--volume-driver", "folders", "busybox", "sh", "-c", "echo kept >/mnt/key; sleep 1000")
	eventually(t, "the container has written", func() bool { return e.fileIn("app", "/mnt/key") })
	e.ok("cp", "app:/mnt/key", filepath.Join(t.TempDir(), "key"))
	if ids := shared.folders.attached(); len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("IDs = %q; want one, twice", ids)
	}
	if got := shared.folders.held("db"); got != 1 {
		t.Errorf("held %d times after cp; want 1", got)
	}
}

// TestCrashSendsNoUnmount: an Engine that was killed never unmounts what it had
// mounted, and mounts again under the same ID.
func TestCrashSendsNoUnmount(t *testing.T) {
	e := newEngine(t)
	e.runBusybox("-d", "--stop-signal", "KILL", "--name", "app", "-v", "db:/mnt", "--volume-driver", "folders", "busybox", "sleep", "1000")
	e.restart()
	e.ok("start", "app")
	if ids := shared.folders.attached(); len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("IDs = %q; want one, twice", ids)
	}
	if got, _ := shared.folders.count("Unmount"); got != 0 {
		t.Errorf("Unmount came %d times; want 0", got)
	}
	e.ok("rm", "-f", "app")
	shared.folders.forget("db")
}

// TestCrashHoldsNothing: and Ballast copes with that. The container starts again
// and finds its data, and once it is removed the volume can be.
func TestCrashHoldsNothing(t *testing.T) {
	e, b := newAgentEngine(t)
	e.runBusybox("-d", "--stop-signal", "KILL", "--name", "app", "-v", "db:/mnt", "--volume-driver", "ballast", "busybox", "sh", "-c",
		"[ -e /mnt/key ] || echo kept >/mnt/key; sync; touch /mnt/written; sleep 1000")
	eventually(t, "the container has written", func() bool { return e.fileIn("app", "/mnt/written") })
	e.restart()
	e.ok("start", "app")
	eventually(t, "the container runs again", func() bool { return e.fileIn("app", "/mnt/written") })
	if got := e.ok("exec", "app", "busybox", "cat", "/mnt/key"); got != "kept" {
		t.Errorf("after the crash the container reads %q; want kept", got)
	}
	e.ok("rm", "-f", "app")
	e.ok("volume", "rm", "db")
	if !b.trashed(t, "db") {
		t.Error("the removed volume is not in the trash")
	}
}

// TestMountGivenUp: an Engine that goes away while it waits for a Mount will never
// unmount, whether the mounting stops when told or succeeds afterwards.
func TestMountGivenUp(t *testing.T) {
	for name, listens := range map[string]bool{"mount that listens": true, "mount that does not": false} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			e.ok("volume", "create", "-d", "folders", "db")
			mounting, release := make(chan struct{}), make(chan struct{})
			shared.folders.script(func(ctx context.Context, call, _ string) error {
				if call != "attach" {
					return nil
				}
				close(mounting)
				if listens {
					<-ctx.Done()
					return ctx.Err()
				}
				<-release
				return nil
			})
			e.start("run", "--network", "none", "--name", "app", "-v", "db:/mnt", "busybox", "true")
			<-mounting
			e.kill()
			close(release)
			eventually(t, "the mount is over and nobody holds the volume", func() bool {
				return shared.folders.idle() && shared.folders.held("db") == 0
			})
			shared.folders.script(nil)
			e.boot()
		})
	}
}

// TestGetWhenUnknown: while it is not known whether a volume exists, Docker neither
// forgets what it knows of it nor makes a local one in its place. It repeats the
// call without a body, and that must not be answered either.
func TestGetWhenUnknown(t *testing.T) {
	e := newEngine(t)
	e.ok("volume", "create", "-d", "folders", "-o", "size=20G", "--label", "team=shop", "db")
	shared.folders.script(failing("get", ballast.ErrNotReady))
	_, before := shared.folders.count("Get")
	e.fails("run", "--rm", "--network", "none", "-v", "db:/mnt", "busybox", "true")
	if _, after := shared.folders.count("Get"); after == before {
		t.Error("docker did not repeat the call; this test no longer tests what it says")
	}
	shared.folders.script(nil)
	if got := e.inspect("db"); got.Driver != "folders" || got.Labels["team"] != "shop" || got.Options["size"] != "20G" {
		t.Errorf("afterwards docker knows %+v; want driver, label and option as they were", got)
	}
}

// TestRepeatedWithoutBody: the call that Docker repeats after a lost connection is
// refused, in words, and changes nothing.
func TestRepeatedWithoutBody(t *testing.T) {
	for _, tt := range []struct {
		call string
		args []string
	}{
		{"Create", []string{"volume", "create", "-d", "folders", "new"}},
		{"Mount", []string{"run", "--rm", "--network", "none", "-v", "db:/mnt", "busybox", "true"}},
	} {
		t.Run(tt.call, func(t *testing.T) {
			e := newEngine(t)
			e.ok("volume", "create", "-d", "folders", "db")
			shared.folders.loseFirst(tt.call)
			if got := e.fails(tt.args...); !strings.Contains(got, "arrived empty") {
				t.Errorf("docker says: %s; want that the request arrived empty", got)
			}
			if _, empty := shared.folders.count(tt.call); empty != 1 {
				t.Errorf("%s came %d times without a body; want 1", tt.call, empty)
			}
			if got := e.ok("volume", "ls", "-q"); got != "db" {
				t.Errorf("volumes = %q; want only db", got)
			}
			if got := shared.folders.held("db"); got != 0 {
				t.Errorf("held %d times; want 0", got)
			}
		})
	}
}

// TestInUseByOthers: Docker looks only at its own containers.
func TestInUseByOthers(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("--rm", "-v", "db:/mnt", "--volume-driver", b.driver(), "busybox", "sh", "-c", "echo kept >/mnt/key")
		wantHeld(t, b, "db", 0)
		b.hold(t, "db", "somebody")
		if got := e.fails("volume", "rm", "db"); !strings.Contains(got, "somebody") {
			t.Errorf("rm: %s; want the holder named", got)
		}
		// Forced, Docker forgets the volume, and the volume is still there.
		_, _ = e.try("volume", "rm", "-f", "db")
		b.letGo(t, "db", "somebody")
		if got := e.runBusybox("--rm", "-v", "db:/mnt", "--volume-driver", b.driver(), "busybox", "cat", "/mnt/key"); got != "kept" {
			t.Errorf("read %q; want kept", got)
		}
	})
}

// TestInUseByContainer: a volume outlives every attempt to remove it from under a
// container.
func TestInUseByContainer(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("-d", "--name", "app", "-v", "db:/mnt", "--volume-driver", b.driver(), "busybox", "sleep", "1000")
		if got := e.fails("volume", "rm", "-f", "db"); !strings.Contains(got, "in use") {
			t.Errorf("rm -f: %s; want in use", got)
		}
		e.ok("exec", "app", "busybox", "touch", "/mnt/still-there")
	})
}

// TestCopyUp: what the image has at the mountpoint is copied to a new volume, which
// therefore must be empty, and never over what is there.
func TestCopyUp(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "db")
		if got := e.runBusybox("--rm", "-v", "db:/data", "seeded", "ls", "-A", "/data"); got != "from-image" {
			t.Errorf("a new volume holds %q; want what the image has", got)
		}
		e.runBusybox("--rm", "-v", "db:/data", "seeded", "sh", "-c", "echo changed >/data/from-image")
		if got := e.runBusybox("--rm", "-v", "db:/data", "seeded", "cat", "/data/from-image"); got != "changed" {
			t.Errorf("read %q; want what the container wrote last", got)
		}
		wantHeld(t, b, "db", 0)
	})
}

func TestNoCopy(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "db")
		mount := "type=volume,source=db,target=/data,volume-nocopy"
		if got := e.runBusybox("--rm", "--mount", mount, "seeded", "ls", "-A", "/data"); got != "" {
			t.Errorf("a new volume holds %q; want nothing", got)
		}
		wantHeld(t, b, "db", 0)
	})
}

// TestPluginAwayWhileContainerRuns: containers do not notice that the agent is
// killed and comes back, and neither does what they are stopped with afterwards.
func TestPluginAwayWhileContainerRuns(t *testing.T) {
	e, b := newAgentEngine(t)
	e.runBusybox("-d", "--name", "app", "-v", "db:/mnt", "--volume-driver", "ballast", "busybox", "sh", "-c",
		"i=0; while i=$((i+1)); do echo $i >/mnt/count; busybox sync /mnt/count; done")
	count := func() string { return e.ok("exec", "app", "busybox", "cat", "/mnt/count") }
	eventually(t, "the container writes", func() bool { return e.fileIn("app", "/mnt/count") })
	b.killAgent(t)
	was := count()
	eventually(t, "the container writes without an agent", func() bool { return count() != was })
	b.startAgent(t)
	was = count()
	eventually(t, "the container writes with the new agent", func() bool { return count() != was })
	wantHeld(t, b, "db", 1)
	e.ok("rm", "-f", "app")
	wantHeld(t, b, "db", 0)
	e.runBusybox("--rm", "-v", "db:/mnt", "busybox", "cat", "/mnt/count")
}
