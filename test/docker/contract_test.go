package docker

import (
	"path/filepath"
	"strings"
	"testing"
)

// The tests of this file have the names of those with which Docker tests external
// volume drivers, and lay down the same behaviour.

func TestExternalVolumeDriverNamed(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("--rm", "-v", "named:/mnt", "--volume-driver", b.driver(), "busybox", "sh", "-c", "echo kept >/mnt/key")
		wantHeld(t, b, "named", 0)
		if got := e.runBusybox("--rm", "-v", "named:/mnt", "busybox", "cat", "/mnt/key"); got != "kept" {
			t.Errorf("read %q; want what the first container wrote", got)
		}
		wantHeld(t, b, "named", 0)
		e.ok("volume", "rm", "named")
		if got := e.fails("volume", "inspect", "named"); !strings.Contains(strings.ToLower(got), "no such volume") {
			t.Errorf("inspect after rm: %s; want no such volume", got)
		}
	})
}

func TestExternalVolumeDriverUnnamed(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("--rm", "-v", "/mnt", "--volume-driver", b.driver(), "busybox", "touch", "/mnt/key")
		if left := e.ok("volume", "ls", "-q"); left != "" {
			t.Errorf("the anonymous volume %q outlived its container", left)
		}
	})
}

func TestExternalVolumeDriverVolumesFrom(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("--name", "first", "-v", "/mnt", "--volume-driver", b.driver(), "busybox", "sh", "-c", "echo kept >/mnt/key")
		if got := e.runBusybox("--rm", "--volumes-from", "first", "busybox", "cat", "/mnt/key"); got != "kept" {
			t.Errorf("read %q; want what the first container wrote", got)
		}
		e.ok("rm", "-fv", "first")
		if left := e.ok("volume", "ls", "-q"); left != "" {
			t.Errorf("the anonymous volume %q outlived its containers", left)
		}
	})
}

func TestExternalVolumeDriverDeleteContainer(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("-d", "--name", "app", "-v", "/mnt", "-v", "named:/named", "--volume-driver", b.driver(), "busybox", "sleep", "1000")
		e.ok("rm", "-fv", "app")
		wantHeld(t, b, "named", 0)
		if left := e.ok("volume", "ls", "-q"); left != "named" {
			t.Errorf("volumes left = %q; want only the named one", left)
		}
	})
}

// TestExternalVolumeDriverLookupNotBlocked: a driver that is down makes nobody wait
// but its own users.
func TestExternalVolumeDriverLookupNotBlocked(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		name := "down-" + b.driver()
		down := e.start("volume", "create", "-d", name, name)
		eventually(t, "docker looks for the driver that is down", func() bool { return e.logged("Unable to locate plugin: " + name) })
		e.ok("volume", "create", "-d", b.driver(), "other")
		if down.ended() {
			t.Errorf("the driver that is down was given up on already: %s", down.output())
		}
	})
}

// TestExternalVolumeDriverRetryNotImmediatelyExists: Docker waits a while for a
// driver that is not there yet.
func TestExternalVolumeDriverRetryNotImmediatelyExists(t *testing.T) {
	e := newEngine(t)
	late := newFolders(e.m.Path("late"))
	run := e.start("run", "--rm", "--network", "none", "-v", "late:/mnt", "--volume-driver", "late", "busybox", "touch", "/mnt/key")
	eventually(t, "docker looks for the driver", func() bool { return e.logged("Unable to locate plugin: late") })
	e.serve("late", late)
	<-run.done
	if run.err != nil {
		t.Fatalf("run: %v\n%s", run.err, run.output())
	}
	if got := late.held("late"); got != 0 {
		t.Errorf("held %d times after the run; want 0", got)
	}
	e.ok("volume", "rm", "late")
}

func TestExternalVolumeDriverBindExternalVolume(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "foo")
		e.runBusybox("-d", "--name", "app", "-v", "foo:/bar", "busybox", "sleep", "1000")
		if got, want := e.mounts("app"), "foo "+b.driver(); got != want {
			t.Errorf("mounts = %q; want %q: the driver is found by the volume's name", got, want)
		}
	})
}

func TestExternalVolumeDriverList(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "abc3")
		e.ok("volume", "create", "mine")
		if got, want := e.ok("volume", "ls", "--format", "{{.Driver}} {{.Name}}"), b.driver()+" abc3\nlocal mine"; got != want {
			t.Errorf("list = %q; want %q", got, want)
		}
	})
}

func TestExternalVolumeDriverGet(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		if got := e.fails("volume", "inspect", "dummy"); !strings.Contains(strings.ToLower(got), "no such volume") {
			t.Errorf("inspect of an unknown volume: %s; want no such volume", got)
		}
		e.ok("volume", "create", "-d", b.driver(), "test")
		if got := e.inspect("test"); got.Driver != b.driver() || len(got.Status) == 0 || got.Mountpoint != "" {
			t.Errorf("inspect = %+v; want a driver, a status and, while nobody uses it, no mountpoint", got)
		}
	})
}

func TestExternalVolumeDriverWithDaemonRestart(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "--label", "team=shop", "abc1")
		e.restart()
		e.runBusybox("--name", "app", "-v", "abc1:/foo", "busybox", "true")
		if got, want := e.mounts("app"), "abc1 "+b.driver(); got != want {
			t.Errorf("mounts = %q; want %q", got, want)
		}
		if got := e.inspect("abc1").Labels["team"]; got != "shop" {
			t.Errorf("label = %q; want shop: docker forgot what it knew of the volume", got)
		}
	})
}

// TestExternalVolumeDriverGetEmptyResponse: a volume that is gone right after it was
// made harms nobody.
func TestExternalVolumeDriverGetEmptyResponse(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "abc2")
		b.removeBehindDocker(t, "abc2")
		if got := e.fails("volume", "inspect", "abc2"); !strings.Contains(strings.ToLower(got), "no such volume") {
			t.Errorf("inspect: %s; want no such volume", got)
		}
	})
}

// TestExternalVolumeDriverPathCalls: a list asks for no paths.
func TestExternalVolumeDriverPathCalls(t *testing.T) {
	e := newEngine(t)
	e.ok("volume", "create", "-d", "folders", "test")
	e.ok("volume", "ls")
	if got, _ := shared.folders.count("Path"); got != 0 {
		t.Errorf("Path was asked for %d times; want 0", got)
	}
}

// TestExternalVolumeDriverMountID: every mount has an ID, and another one.
func TestExternalVolumeDriverMountID(t *testing.T) {
	e := newEngine(t)
	for range 2 {
		e.runBusybox("--rm", "-v", "ids:/data", "--volume-driver", "folders", "busybox", "true")
	}
	seen := map[string]bool{}
	for _, id := range shared.folders.attached() {
		if len(id) != 64 || seen[id] {
			t.Errorf("ID %q; want 64 digits, new each time (all: %q)", id, shared.folders.attached())
		}
		seen[id] = true
	}
	if len(seen) == 0 {
		t.Error("nothing was mounted")
	}
}

func TestExternalVolumeDriverCapabilities(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "test")
		if got := e.inspect("test").Scope; got != "global" {
			t.Errorf("scope = %q; want global", got)
		}
	})
}

func TestExternalVolumeDriverOutOfBandDelete(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "-d", b.driver(), "--label", "n=1", "test")
		if got := e.fails("volume", "create", "-d", "local", "test"); !strings.Contains(got, "must be unique") {
			t.Errorf("create with another driver: %s; want that names are unique", got)
		}
		b.removeBehindDocker(t, "test")
		e.ok("volume", "create", "-d", b.driver(), "--label", "n=2", "test")
		if got := e.inspect("test"); got.Driver != b.driver() || got.Labels["n"] != "2" {
			t.Errorf("made again: %+v; want driver %s and label n=2", got, b.driver())
		}
		b.removeBehindDocker(t, "test")
		e.ok("volume", "create", "-d", "local", "test")
		if got := e.inspect("test"); got.Driver != "local" {
			t.Errorf("made again with another driver: %+v; want local", got)
		}
	})
}

// TestExternalVolumeDriverUnmountOnMountFail: nobody unmounts what was not mounted.
func TestExternalVolumeDriverUnmountOnMountFail(t *testing.T) {
	e := newEngine(t)
	e.ok("volume", "create", "-d", "folders", "test")
	shared.folders.script(failing("attach", errMount))
	for _, args := range [][]string{{}, {"-w", "/foo"}} {
		args = append(args, "--network", "none", "-v", "test:/foo", "busybox", "true")
		if got := e.fails(append([]string{"run"}, args...)...); !strings.Contains(got, errMount.Error()) {
			t.Errorf("run: %s; want our own words", got)
		}
	}
	if got, _ := shared.folders.count("Unmount"); got != 0 {
		t.Errorf("Unmount came %d times; want 0", got)
	}
}

// TestExternalVolumeDriverUnmountOnCp: docker cp mounts and unmounts under the ID of
// the container that runs, and must not take the volume away from it.
func TestExternalVolumeDriverUnmountOnCp(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.runBusybox("-d", "--name", "app", "-v", "test:/data", "--volume-driver", b.driver(), "busybox", "sh", "-c", "echo kept >/data/key; sleep 1000")
		wantHeld(t, b, "test", 1)
		eventually(t, "the container has written", func() bool { return e.fileIn("app", "/data/key") })
		e.ok("cp", "app:/data/key", filepath.Join(t.TempDir(), "key"))
		wantHeld(t, b, "test", 1)
		if got := e.ok("exec", "app", "busybox", "cat", "/data/key"); got != "kept" {
			t.Errorf("after cp the container reads %q; want kept", got)
		}
		e.ok("kill", "app")
		wantHeld(t, b, "test", 0)
	})
}

func TestVolumeCLICreateOptionConflict(t *testing.T) {
	onEach(t, func(t *testing.T, e engine, b backend) {
		e.ok("volume", "create", "test")
		if got := e.fails("volume", "create", "-d", b.driver(), "test"); !strings.Contains(got, "must be unique") {
			t.Errorf("create with another driver: %s; want that names are unique", got)
		}
		e.ok("volume", "create", "-d", "local", "test")
		e.ok("volume", "create", "-d", b.driver(), "mine")
		e.ok("volume", "create", "-d", b.driver(), "mine")
	})
}
