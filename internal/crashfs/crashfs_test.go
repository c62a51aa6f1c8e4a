package crashfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FS { return New() })
}

// outcomes cuts the power often and collects what was left of a file's sectors.
func outcomes(disk *FS, name string) map[string]bool {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		f, err := disk.PowerCut(rand.New(rand.NewPCG(seed, 0))).Open(name)
		if err != nil {
			seen["no file"] = true
			continue
		}
		var state []byte
		for at := int64(0); at < 2*sector; at += sector {
			b := []byte{'-'}
			_, _ = f.ReadAt(b, at) // beyond the end it stays '-'
			state = append(state, b[0])
		}
		seen[string(state)] = true
	}
	return seen
}

// TestPowerCut wants every legal outcome to happen, and no other.
func TestPowerCut(t *testing.T) {
	disk := New()
	f, err := disk.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	write := func(c byte) {
		if _, err := f.WriteAt(bytes.Repeat([]byte{c}, 2*sector), 0); err != nil {
			t.Fatal(err)
		}
	}
	write('a')
	if got := outcomes(disk, "f"); !got["no file"] || !got["aa"] {
		t.Errorf("before any sync: %v; want the file's name at risk", got)
	}
	if err := errors.Join(f.Sync(), disk.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(disk, "f"); len(got) != 1 || !got["aa"] {
		t.Errorf("after a sync: %v; want aa alone", got)
	}
	write('b')
	write('c')
	got := outcomes(disk, "f")
	for _, want := range []string{"aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc"} {
		if !got[want] {
			t.Errorf("no cut left %q", want)
		}
	}
	if len(got) != 9 {
		t.Errorf("outcomes = %v; want the nine legal ones", got)
	}
}

// TestFailedSyncLosesWrites: a later sync does not make them durable.
func TestFailedSyncLosesWrites(t *testing.T) {
	disk := New()
	f, err := disk.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{'a'}, 2*sector), 0); err != nil {
		t.Fatal(err)
	}
	fail := true
	disk.FailWith(func(int, string) error {
		if fail {
			return syscall.EIO
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync = %v; want EIO", err)
	}
	fail = false
	if err := f.Sync(); err != nil {
		t.Errorf("second Sync = %v; want nil: that is the trap", err)
	}
	if got := outcomes(disk, "f"); got["aa"] {
		t.Errorf("outcomes = %v; want the lost writes to stay lost", got)
	}
}
