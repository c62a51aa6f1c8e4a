package blocks

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// slotsOf is how many files are replaced, over and over.
const slotsOf = 32

// slots are files that are replaced as a whole: each is one register.
type slots struct {
	dir   string
	taken [slotsOf]sync.Mutex // by who replaces it: the name beside it is one
}

const slotsID = 3

func openSlots(dir string) (*slots, error) {
	s := &slots{dir: filepath.Join(dir, "files")}
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return s, syncDir(dir)
}

func (s *slots) name() string { return "files" }
func (s *slots) Close() error { return nil }

func (s *slots) path(slot int) string { return filepath.Join(s.dir, fmt.Sprint(slot)) }

func (s *slots) find(found func(int, history.Value)) error {
	for slot := range slotsOf {
		p, err := os.ReadFile(s.path(slot))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		v, err := readSlot(p)
		if err != nil {
			return fmt.Errorf("file %d of %d bytes: %w", slot, len(p), err)
		}
		found(slot, v)
	}
	return nil
}

// readSlot returns whose file it is. A file was whole before it had its name.
func readSlot(p []byte) (history.Value, error) {
	if len(p) == 0 || len(p)%Size != 0 {
		return 0, ErrDamaged
	}
	var all history.Value
	for b := 0; b*Size < len(p); b++ {
		v, err := Read(p[b*Size:(b+1)*Size], slotsID, uint32(b))
		if err != nil {
			return 0, err
		}
		if b > 0 && v != all || v == 0 {
			return 0, fmt.Errorf("%w: it is of the writes %#x and %#x", ErrDamaged, uint64(all), uint64(v))
		}
		all = v
	}
	return all, nil
}

func (s *slots) write(rng *rand.Rand, v history.Value, begin func(int, int) error) error {
	slot := rng.IntN(slotsOf)
	p := make([]byte, (1+rng.IntN(mostAtOnce))*Size)
	for b := 0; b*Size < len(p); b++ {
		Fill(p[b*Size:(b+1)*Size], v, slotsID, uint32(b))
	}
	s.taken[slot].Lock()
	defer s.taken[slot].Unlock()
	if err := begin(slot, 1); err != nil {
		return err
	}
	beside := s.path(slot) + ".new"
	f, err := os.Create(beside)
	if err != nil {
		return err
	}
	defer f.Close() // what it holds was synced, or it failed
	if _, err = f.Write(p); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(beside, s.path(slot)); err != nil {
		return err
	}
	// The folder's sync alone may be a lie when the volume fails meanwhile; the file's, which needs the same
	// commit, is not: docs/decisions/0008-a-folder-synced-after-an-error.md.
	return errors.Join(syncDir(s.dir), f.Sync())
}

func (s *slots) read(*rand.Rand) (int, history.Value, error) { return 0, 0, errNoReads }
