package faults

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
	"github.com/ballast-io/ballast/test/smallvolume"
)

// fault is an error that the kernel may return.
type fault struct {
	name   string
	inject string // as strace calls it
	calls  []string
	then   string // "" strikes once, "+" from then on
}

var (
	writing = []string{"pwrite64", "fdatasync", "fsync", "fallocate", "renameat", "unlinkat", "openat"}
	reading = []string{"pread64", "read", "getdents64", "newfstatat", "fstat"}
	filling = []string{"pwrite64", "openat", "renameat", "fallocate"}
)

// TestFailingSystemCall makes the n-th system call of a kind fail, for every kind
// and every n of a script: whatever the script was told, no acknowledgement
// is broken, and the volume says what happened (G6).
func TestFailingSystemCall(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("left out: making system calls fail needs strace")
	}
	script := filepath.Join(t.TempDir(), "script")
	build := exec.Command("go", "build", "-o", script, "./script")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, f := range []fault{
		{"EIO", "error=EIO", append(writing, reading...), ""},
		{"EIO from then on", "error=EIO", writing, "+"},
		{"ENOSPC", "error=ENOSPC", filling, ""},
		{"ENOSPC from then on", "error=ENOSPC", filling, "+"},
		{"nothing written", "retval=0", []string{"pwrite64"}, ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, call := range f.calls {
				n := 1
				for strike(t, script, f, call, n) {
					n++
				}
				if t.Logf("%s: %d calls failed in turn", call, n-1); n == 1 {
					t.Errorf("%s: the script makes no such call", call) // F2
				}
			}
		})
	}
}

// strike runs the script with the n-th call failing, and holds the volume
// against what was acknowledged. It reports whether there was an n-th call.
func strike(t *testing.T, script string, f fault, call string, n int) (struck bool) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "") //nolint:usetesting // removed at once: see below
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // hundreds would fill the disk
	disk := open(t, dir)
	if err := smallvolume.Create(disk, ".", volume.Identity{ID: "abcdefghijklmnopqrstuvwxyz", Size: ballast.ChunkSize}, 32<<10); err != nil {
		t.Fatal(err)
	}
	trace := dir + ".trace"
	defer os.Remove(trace)
	cmd := exec.CommandContext(t.Context(), "strace", "-qq", "-e", "signal=none", "-o", trace, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:%s:when=%d%s", call, f.inject, n, f.then), script, dir)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	said, err := cmd.CombinedOutput()
	made, terr := os.ReadFile(trace)
	if terr != nil {
		t.Fatal(terr)
	}
	struck = bytes.Contains(made, []byte("(INJECTED)"))
	what := fmt.Sprintf("%s of %s %d%s", f.name, call, n, f.then)
	// A program whose very start fails has acknowledged nothing.
	if !bytes.HasSuffix(said, []byte("end\n")) && (err == nil || bytes.Contains(said, []byte("goroutine "))) {
		t.Errorf("%s: the script broke off: %v\n%s", what, err, said)
	}
	told, err := listen(string(said))
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, said)
	}
	if err := told.hold(disk); err != nil {
		t.Errorf("%s: %v\n%s\nthe script was told:\n%s", what, err, bytes.TrimSpace(made), said)
	}
	return struck
}

func open(t *testing.T, dir string) vfs.FS {
	t.Helper()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

// told is what the script was told by the volume.
type told struct {
	writes []extent // that were accepted, in order
	acked  int      // so many of them were acknowledged
}

type extent struct {
	first, count int
	tag          uint64
}

// listen reads what the script printed. A volume that says that it accepts nothing
// more, and then acknowledges, is an error.
func listen(said string) (told, error) {
	var r told
	stopped := false
	for line := range strings.Lines(said) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "write":
			var x extent
			if _, err := fmt.Sscan(rest, &x.first, &x.count, &x.tag); err != nil {
				return r, fmt.Errorf("read %q: %w", line, err)
			}
			r.writes = append(r.writes, x)
		case "flush":
			if stopped {
				return r, fmt.Errorf("a volume that had stopped acknowledged a flush")
			}
			r.acked = len(r.writes)
		case "closed":
			r.acked = len(r.writes)
		case "stopped":
			stopped = true
		}
	}
	return r, nil
}

// hold wants the volume to be sound, to open, and to hold the state after some number
// of the writes, at least those that were acknowledged.
func (r told) hold(disk vfs.FS) error {
	report, err := volume.Check(disk, ".")
	if err != nil {
		return err
	}
	if len(report.Damage) > 0 {
		return report.Damage[0]
	}
	v, err := volume.Open(disk, ".", volume.Options{Epoch: report.Epoch + 1})
	if err != nil {
		return err
	}
	defer v.Close() // was only read
	found := make([]byte, ballast.ChunkSize)
	if _, err := v.ReadAt(found, 0); err != nil {
		return err
	}
	want := make([]byte, ballast.ChunkSize)
	for n := 0; ; n++ {
		if n >= r.acked && bytes.Equal(found, want) {
			return nil
		}
		if n == len(r.writes) {
			return fmt.Errorf("%d writes were acknowledged; what is there is the state after no number of them from there on", r.acked)
		}
		r.writes[n].put(want)
	}
}

func (x extent) put(p []byte) {
	part := p[x.first*ballast.BlockSize : (x.first+x.count)*ballast.BlockSize]
	for i := 0; i < len(part); i += 8 {
		binary.LittleEndian.PutUint64(part[i:], x.tag)
	}
}
