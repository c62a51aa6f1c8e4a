package workload

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
)

// Workload is an endless sequence of steps, numbered from 1. It is used by one
// goroutine.
type Workload interface {
	// Inspect returns how many steps are in the state that is there, and fails
	// when it is the state after no number of steps (W2).
	Inspect() (uint64, error)
	// Resume makes ready for step n+1. The programs that it starts end with this one.
	Resume(n uint64) error
	// Step returns once step n is acknowledged by whoever keeps it (W1).
	Step(n uint64) error
}

// Names returns the names of all workloads.
func Names() []string {
	return []string{"append", "overwrite", "rename", "bulk", "sqlite", "sqlite-wal", "redis"}
}

// In returns the workloads that live side by side in the folder dir, by name.
func In(dir string) map[string]Workload {
	at := func(name string) string { return filepath.Join(dir, name) }
	return map[string]Workload{
		"append":     &appending{path: at("append")},
		"overwrite":  &overwriting{path: at("overwrite"), slots: 64, size: 4096},
		"bulk":       &overwriting{path: at("bulk"), slots: 16, size: 2 << 20},
		"rename":     &renaming{dir: at("rename")},
		"sqlite":     &database{path: at("sqlite.db"), pragma: "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA;"},
		"sqlite-wal": &database{path: at("sqlite-in-wal-mode.db"), pragma: "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=50;"},
		"redis":      &redis{dir: at("redis")},
	}
}

// Report says on w what a worker does: "@found NAME N" for every workload in dir.
func Report(w io.Writer, dir string) error {
	all := In(dir)
	for _, name := range Names() {
		n, err := all[name].Inspect()
		if err != nil {
			return fmt.Errorf("inspect %s: %w", name, err)
		}
		if _, err := fmt.Fprintln(w, "@found", name, n); err != nil {
			return err
		}
	}
	return nil
}

// Work goes on with a workload in dir where it stopped, for ever. It says
// "@ready" on w, and then "@ack N" for every step.
func Work(w io.Writer, dir, name string) error {
	work := In(dir)[name]
	n, err := work.Inspect()
	if err != nil {
		return fmt.Errorf("inspect %s: %w", name, err)
	}
	if err := work.Resume(n); err != nil {
		return fmt.Errorf("resume %s: %w", name, err)
	}
	if _, err := fmt.Fprintln(w, "@ready"); err != nil {
		return err
	}
	for n++; ; n++ {
		if err := work.Step(n); err != nil {
			return fmt.Errorf("%s, step %d: %w", name, n, err)
		}
		if _, err := fmt.Fprintln(w, "@ack", n); err != nil {
			return err
		}
	}
}

// content is what step n writes: nothing else is like it.
func content(n uint64, size int) []byte {
	p := make([]byte, size)
	rng := rand.New(rand.NewPCG(n, uint64(size)))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	binary.LittleEndian.PutUint64(p, n)
	return p
}

// stepOf is the step that content says it is of.
func stepOf(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }

// slotOf says which of several places step n writes to; any one is as likely.
func slotOf(n uint64, slots int) int {
	return rand.New(rand.NewPCG(n, 1)).IntN(slots)
}

// latest returns, for every place, the last of n steps that wrote to it, or 0.
func latest(n uint64, slots int) []uint64 {
	last := make([]uint64, slots)
	for missing := slots; n > 0 && missing > 0; n-- {
		if s := slotOf(n, slots); last[s] == 0 {
			last[s] = n
			missing--
		}
	}
	return last
}

// agree holds the steps that were found in the places against the state that the
// highest of them proves, and returns that.
func agree(found []uint64) (uint64, error) {
	n := uint64(0)
	for _, step := range found {
		n = max(n, step)
	}
	for slot, want := range latest(n, len(found)) {
		if found[slot] != want {
			return 0, fmt.Errorf("step %d is there, and place %d is as of step %d, not %d", n, slot, found[slot], want)
		}
	}
	return n, nil
}
