package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// verdict is what a comparison of copies found.
type verdict struct {
	at     ballast.LSN // where they were compared
	copies int
	bytes  int64 // of each
}

// compareCopies says whether copies of one volume are the same at the last record that all
// of them have, and whether the filesystem on it is sound (G4, G2). dirs are folders with
// files of the volume, by node, which nobody else uses; they are changed.
func compareCopies(ctx context.Context, dirs map[string]string) (verdict, error) {
	v := verdict{copies: len(dirs)}
	for name, dir := range dirs {
		if err := sound(dir); err != nil {
			return v, fmt.Errorf("copy of %s: %w", name, err)
		}
	}
	var err error
	if v.at, err = common(dirs); err != nil {
		return v, err
	}
	first, want := "", [sha256.Size]byte{}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		raw := "" // one is enough for a look at its filesystem
		if first == "" {
			raw = filepath.Join(dirs[name], "raw")
		}
		got, size, err := contentAt(dirs[name], v.at, raw)
		if err != nil {
			return v, fmt.Errorf("read copy of %s at LSN %d: %w", name, v.at, err)
		}
		if first == "" {
			first, want, v.bytes = name, got, size
		}
		if got != want {
			raw = filepath.Join(dirs[name], "raw")
			if _, _, err := contentAt(dirs[name], v.at, raw); err != nil {
				return v, fmt.Errorf("at LSN %d the copies of %s and %s differ; read the second one again: %w", v.at, first, name, err)
			}
			return v, fmt.Errorf("at LSN %d the copies of %s and %s differ%s", v.at, first, name, difference(filepath.Join(dirs[first], "raw"), raw))
		}
	}
	return v, fsck(ctx, filepath.Join(dirs[first], "raw"))
}

// sound asks for what a copy's files promise by themselves.
func sound(dir string) error {
	disk, err := vfs.OS(dir)
	if err != nil {
		return err
	}
	defer disk.Close() // read-only: nothing to lose
	report, err := volume.Check(disk, ".")
	for _, damage := range report.Damage {
		err = errors.Join(err, damage)
	}
	return err
}

// common is the last record that all copies have.
func common(dirs map[string]string) (ballast.LSN, error) {
	var states []volume.FollowerState
	for name, dir := range dirs {
		s, err := stateOf(dir)
		if err != nil {
			return 0, fmt.Errorf("copy of %s: %w", name, err)
		}
		if !s.Complete {
			return 0, fmt.Errorf("the copy of %s is in sync and not complete", name)
		}
		states = append(states, s)
	}
	at := states[0].Last
	for _, s := range states[1:] {
		c, known := states[0].Lineage.Common(at, s.Lineage, s.Last)
		if !known {
			return 0, errors.New("the copies' lineages have nothing in common")
		}
		at = min(at, c)
	}
	for _, s := range states {
		if s.Applied > at {
			return 0, fmt.Errorf("a copy has folded records up to %d, of which another has only those up to %d", s.Applied, at) // R5
		}
	}
	return at, nil
}

func stateOf(dir string) (s volume.FollowerState, err error) {
	err = withFollower(dir, func(f *volume.Follower) error { s = f.State(); return nil })
	return s, err
}

func withFollower(dir string, do func(*volume.Follower) error) error {
	disk, err := vfs.OS(dir)
	if err != nil {
		return err
	}
	defer disk.Close() // the follower has synced what it wrote
	f, err := volume.OpenFollower(disk, ".", volume.FollowerOptions{})
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// contentAt cuts a copy behind a record, writes what the volume is then to the file raw, if that
// is to be, and returns its hash.
func contentAt(dir string, at ballast.LSN, raw string) (sum [sha256.Size]byte, size int64, err error) {
	var next ballast.Epoch
	err = withFollower(dir, func(f *volume.Follower) error {
		s := f.State()
		next = s.Epoch + 1
		return f.Follow(next, s.Lineage.Next(next, at+1), at)
	})
	if err != nil {
		return sum, 0, err
	}
	disk, err := vfs.OS(dir)
	if err != nil {
		return sum, 0, err
	}
	defer disk.Close() // of no more interest
	v, err := volume.Open(disk, ".", volume.Options{Epoch: next + 1})
	if err != nil {
		return sum, 0, err
	}
	sum, size, err = export(v, raw)
	return sum, size, errors.Join(err, v.Close())
}

func export(v *volume.Volume, raw string) (sum [sha256.Size]byte, size int64, err error) {
	h := sha256.New()
	if raw == "" {
		n, err := io.Copy(h, io.NewSectionReader(v, 0, v.Size()))
		return [sha256.Size]byte(h.Sum(nil)), n, err
	}
	f, err := os.Create(raw)
	if err != nil {
		return sum, 0, err
	}
	n, err := io.Copy(io.MultiWriter(h, f), io.NewSectionReader(v, 0, v.Size()))
	return [sha256.Size]byte(h.Sum(nil)), n, errors.Join(err, f.Close())
}

// difference says where two files differ first, and in how many blocks.
func difference(a, b string) string {
	p, err := os.ReadFile(a)
	if err != nil {
		return ""
	}
	q, err := os.ReadFile(b)
	if err != nil {
		return ""
	}
	if len(p) != len(q) {
		return fmt.Sprintf(": they have %d and %d bytes", len(p), len(q))
	}
	const block = 4096
	first, n := -1, 0
	for off := 0; off < len(p); off += block {
		end := min(off+block, len(p))
		if string(p[off:end]) != string(q[off:end]) {
			if first < 0 {
				first = off
			}
			n++
		}
	}
	return fmt.Sprintf(" in %d blocks of %d, the first one at %#x", n, block, first)
}

// fsck asks e2fsck about a filesystem as it is after its journal is replayed, as a mount
// does first. What it finds then, it would have to repair.
func fsck(ctx context.Context, raw string) error {
	for _, args := range [][]string{{"-E", "journal_only", "-y"}, {"-f", "-n"}} {
		out, err := exec.CommandContext(ctx, "e2fsck", append(args, raw)...).CombinedOutput()
		// After replaying a journal it says that it changed something.
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && args[0] == "-E" {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("the filesystem is not sound: e2fsck %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// cloneFolder clones a volume's own files on their filesystem. What is beside them is not
// touched: the device there answers only as long as its engine runs.
func cloneFolder(from, to string) error {
	if err := os.RemoveAll(to); err != nil { // of an earlier try
		return err
	}
	for _, name := range []string{"volume.json", "log", "image", "chunks", "staging"} {
		err := cloneTree(filepath.Join(from, name), filepath.Join(to, name))
		if errors.Is(err, fs.ErrNotExist) && name == "staging" {
			continue // it is there while a copy is brought up to date
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cloneTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return cloneFile(path, target)
	})
}

func cloneFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // read-only: nothing to lose
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	if err != nil {
		err = fmt.Errorf("clone %s: %w", from, err)
	}
	return errors.Join(err, dst.Close())
}
