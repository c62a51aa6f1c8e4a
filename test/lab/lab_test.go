package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestMachineRunsSwarm needs nothing of Ballast: an Engine, a Swarm, images and
// a service with a volume; dockerd killed and started again.
func TestMachineRunsSwarm(t *testing.T) {
	ctx := t.Context()
	m := labtest.New(t, lab.Options{})
	if err := m.Dockerd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]lab.Image{"busybox": lab.Busybox(), "redis": lab.Redis()} {
		if err := m.ImportImage(ctx, name, image); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.StartSwarm(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Dockerd.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Dockerd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"run", "--rm", "busybox", "echo", "hello"},
		{"service", "create", "--detach", "--name", "s", "--mount", "type=volume,src=vol,dst=/data", "redis"},
		{"service", "update", "--detach", "--limit-memory", "64m", "s"},
	} {
		if _, err := m.Docker(ctx, c...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseLeavesNothing asks for L1, with a volume in use by a container.
func TestCloseLeavesNothing(t *testing.T) {
	loops := orphanLoops(t)
	m := labtest.Start(t, lab.Options{})
	if _, err := m.Docker(t.Context(), "run", "--detach", "--volume-driver", "ballast", "--volume", "vol:/data", "busybox"); err != nil {
		t.Fatal(err)
	}
	pid := litter(t, m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, m.Dir, pid)
	if got := orphanLoops(t); got > loops {
		t.Errorf("%d loop devices have lost their file; before it were %d", got, loops)
	}
}

// orphanLoops counts the loop devices whose file's file system nobody mounts any
// more. Those of other machines, which may run at the same time, have one.
func orphanLoops(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if path, err := os.ReadFile(file); err == nil && string(path) == "/volume\n" {
			n++
		}
	}
	return n
}

// TestDeathLeavesNothing asks for L2: a program dies with its machine open.
func TestDeathLeavesNothing(t *testing.T) {
	labtest.Require(t)
	if dir := os.Getenv("LAB_DIE_IN"); dir != "" {
		dieWithMachine(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "m")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDeathLeavesNothing$")
	child.Env = append(os.Environ(), "LAB_DIE_IN="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "littered %d", &pid) // other lines are the test's own
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if pid == 0 {
		t.Fatal("the program that was to die never had a machine")
	}
	wantNothing(t, dir, pid)
}

// dieWithMachine has a cluster, whose machines differ from single ones in nothing else:
// one of two is switched off.
func dieWithMachine(t *testing.T, dir string) {
	opts := lab.ClusterOptions{Apart: true, Machine: lab.Options{Ballast: labtest.Binary(t)}}
	c, err := lab.NewCluster(t.Context(), dir, 2, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[1].PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("littered %d\n", litter(t, c.Nodes[0].Machine))
	select {} // until killed
}

// litter leaves a process, a mount and a loop device in the machine, and
// returns the process.
func litter(t *testing.T, m *lab.Machine) int {
	t.Helper()
	orphan := m.Command(t.Context(), "sleep", "infinity")
	if err := m.Start(orphan); err != nil {
		t.Fatal(err)
	}
	go orphan.Wait() // it is killed, by the machine
	script := `truncate -s 16M disk && mkfs.ext4 -q disk && mkdir mnt &&
		mount "$(losetup --find --show disk)" mnt && touch mnt/file`
	sh := m.Command(t.Context(), "sh", "-c", script)
	sh.Dir = m.Dir
	if out, err := sh.StderrPipe(); err != nil {
		t.Fatal(err)
	} else if err := m.Start(sh); err != nil {
		t.Fatal(err)
	} else if complaint, _ := bufio.NewReader(out).ReadString(0); sh.Wait() != nil {
		t.Fatalf("litter: %s", complaint)
	}
	return orphan.Process.Pid
}

func wantNothing(t *testing.T, dir string, pid int) {
	t.Helper()
	err := lab.Poll(t.Context(), "the machine to be gone", func(context.Context) error {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return errors.New(dir + " is still there")
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if loops, _ := exec.Command("losetup", "--list").Output(); strings.Contains(string(loops), dir) {
		t.Errorf("loop devices are left:\n%s", loops)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
}

// TestSnapshotSeesGrowth proves the leak detector on things that leak.
func TestSnapshotSeesGrowth(t *testing.T) {
	m := labtest.New(t, lab.Options{})
	before, err := m.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	litter(t, m)
	after, err := m.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(after.Grown(before), "\n")
	for _, want := range []string{"mount " + m.Path("mnt") + " (ext4)", "loop device of " + m.Path("disk"), "process sleep infinity"} {
		if !strings.Contains(got, want) {
			t.Errorf("grown:\n%s\nwant %q among it", got, want)
		}
	}
}
