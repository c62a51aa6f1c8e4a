package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// appending adds a record to the end of a file, and syncs it.
type appending struct {
	path string
	f    *os.File
}

const recordSize = 512

func (a *appending) Inspect() (uint64, error) {
	f, err := os.Open(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close() // was only read
	p := make([]byte, recordSize)
	for n := uint64(0); ; n++ {
		// What follows the last good record is the one that was under way: a filesystem
		// may know the length of an append before its content.
		if _, err := io.ReadFull(f, p); err != nil || !bytes.Equal(p, content(n+1, recordSize)) {
			return n, nil // the end of the file is the end of the records
		}
	}
}

func (a *appending) Resume(n uint64) (err error) {
	if a.f, err = os.OpenFile(a.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	return errors.Join(a.f.Truncate(int64(n)*recordSize), a.f.Sync(), syncFolder(filepath.Dir(a.path)))
}

func (a *appending) Step(n uint64) error {
	_, err := a.f.WriteAt(content(n, recordSize), int64(n-1)*recordSize)
	return errors.Join(err, a.f.Sync())
}

// overwriting writes over parts of a file that is there in full.
type overwriting struct {
	path  string
	slots int
	size  int
	f     *os.File
}

func (o *overwriting) Inspect() (uint64, error) {
	f, err := os.Open(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close() // was only read
	found, torn := make([]uint64, o.slots), tear{slot: -1}
	for slot := range found {
		p := make([]byte, o.size)
		n, err := f.ReadAt(p, int64(slot)*int64(o.size))
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		clear(p[n:]) // a file that was never filled with zeros in full
		if found[slot] = stepOf(p); !o.whole(p) {
			if torn.slot >= 0 {
				return 0, fmt.Errorf("places %d and %d hold no step's content", torn.slot, slot)
			}
			torn = tear{slot, p}
		}
	}
	return o.count(found, torn)
}

// whole says whether p is what one step wrote, or what was there before any.
func (o *overwriting) whole(p []byte) bool {
	if stepOf(p) == 0 {
		return bytes.Equal(p, make([]byte, o.size))
	}
	return bytes.Equal(p, content(stepOf(p), o.size))
}

// tear is a place that holds no one step's content.
type tear struct {
	slot    int // -1: there is none
	content []byte
}

// count allows what is larger than a block to be torn by the step that was under
// way, between blocks, and by no other.
func (o *overwriting) count(found []uint64, torn tear) (uint64, error) {
	if torn.slot < 0 {
		return agree(found)
	}
	n := uint64(0)
	for slot, step := range found {
		if slot != torn.slot {
			n = max(n, step)
		}
	}
	// Later steps than n, if there are any, wrote to the torn place only.
	for ; ; n++ {
		if slotOf(n+1, o.slots) != torn.slot {
			return 0, fmt.Errorf("place %d is torn, and no step was under way there", torn.slot)
		}
		before := latest(n, o.slots)[torn.slot]
		if o.isBetween(torn.content, before, n+1) {
			found[torn.slot] = before
			return agree(found)
		}
	}
}

// isBetween says whether every block of p is as one or the other step left it.
func (o *overwriting) isBetween(p []byte, before, after uint64) bool {
	older, newer := make([]byte, o.size), content(after, o.size)
	if before > 0 {
		older = content(before, o.size)
	}
	for i := 0; i < o.size; i += blockSize {
		block := p[i : i+blockSize]
		if !bytes.Equal(block, older[i:i+blockSize]) && !bytes.Equal(block, newer[i:i+blockSize]) {
			return false
		}
	}
	return true
}

// blockSize is what a filesystem writes whole or not at all.
const blockSize = 4096

func (o *overwriting) Resume(uint64) (err error) {
	if o.f, err = os.OpenFile(o.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	info, err := o.f.Stat()
	if err != nil || info.Size() == int64(o.slots*o.size) {
		return err
	}
	_, err = o.f.WriteAt(make([]byte, o.slots*o.size), 0)
	return errors.Join(err, o.f.Sync(), syncFolder(filepath.Dir(o.path)))
}

func (o *overwriting) Step(n uint64) error {
	_, err := o.f.WriteAt(content(n, o.size), int64(slotOf(n, o.slots))*int64(o.size))
	return errors.Join(err, unix.Fdatasync(int(o.f.Fd())))
}

// renaming replaces whole files, as careful programs do.
type renaming struct{ dir string }

const items = 32

func (r *renaming) Inspect() (uint64, error) {
	found := make([]uint64, items)
	for slot := range found {
		p, err := os.ReadFile(r.item(slot))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if len(p) < 8 || !bytes.Equal(p, content(stepOf(p), lengthOf(stepOf(p)))) {
			return 0, fmt.Errorf("%s holds no step's content", r.item(slot))
		}
		found[slot] = stepOf(p)
	}
	return agree(found)
}

func (r *renaming) item(slot int) string { return filepath.Join(r.dir, strconv.Itoa(slot)) }

// lengthOf makes files of all sizes around a block's.
func lengthOf(n uint64) int { return 8 * (1 + slotOf(n^1<<40, 2048)) }

func (r *renaming) Resume(uint64) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	return errors.Join(syncFolder(filepath.Dir(r.dir)), syncFolder(r.dir))
}

func (r *renaming) Step(n uint64) error {
	draft := filepath.Join(r.dir, "draft")
	f, err := os.Create(draft)
	if err != nil {
		return err
	}
	_, err = f.Write(content(n, lengthOf(n)))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(draft, r.item(slotOf(n, items))), syncFolder(r.dir))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
