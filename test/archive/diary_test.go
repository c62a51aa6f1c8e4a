package archive

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// diary writes to the files of a volume, and remembers what they were at each moment.
type diary struct {
	*node
	volume, dir string
	rng         *rand.Rand
	files       map[string][]byte
	entries     []entry
	restored    int
}

// entry is what was on disk from a moment on: until the next entry begins, which is in a
// later second.
type entry struct {
	what      string
	began, at time.Time // of the flush that was acknowledged last
	files     map[string][]byte
}

// newDiary makes a volume and begins to write to it.
func (n *node) newDiary(volume string, seed uint64, options ...string) *diary {
	n.t.Helper()
	n.do(append([]string{"volume", "create", volume, "--size", "256M"}, options...)...)
	return &diary{node: n, volume: volume, dir: n.attach(volume), rng: rand.New(rand.NewPCG(seed, 0)), files: map[string][]byte{}}
}

const fileSize = 1 << 20

// write changes some files and flushes each: none of that may fail, whatever the archive
// does.
func (d *diary) write(what string) entry {
	d.t.Helper()
	if len(d.entries) > 0 {
		d.pastSecond(d.entries[len(d.entries)-1].at)
	}
	e := entry{what: what}
	for range 1 + d.rng.IntN(3) {
		name := fmt.Sprintf("file-%d", d.rng.IntN(4))
		data := make([]byte, fileSize)
		copy(data, d.files[name])
		from := d.rng.IntN(fileSize)
		part := data[from:min(fileSize, from+1+d.rng.IntN(200<<10))]
		for i := range part {
			part[i] = byte(d.rng.Uint32())
		}
		d.files[name] = data
		e.began = time.Now()
		if err := overwrite(filepath.Join(d.dir, name), data, from, len(part)); err != nil {
			d.t.Fatalf("%s: a write failed: %v", what, err)
		}
	}
	e.at, e.files = time.Now(), maps.Clone(d.files)
	d.entries = append(d.entries, e)
	return e
}

// overwrite writes a part of a file, or a file that is not there, and syncs it.
func overwrite(name string, data []byte, from, length int) error {
	_, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		from, length = 0, len(data)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data[from:from+length], int64(from))
	return errors.Join(err, f.Sync(), f.Close())
}

// pastSecond waits until the clock shows a later second: a point is the last flush of one.
func (d *diary) pastSecond(at time.Time) {
	d.t.Helper()
	next := at.Truncate(time.Second).Add(time.Second)
	d.eventually("the next second", func() error {
		if now := time.Now(); now.Before(next) {
			return fmt.Errorf("it is %v", now)
		}
		return nil
	})
}

// moment is the end of the second of an entry, as restore takes it.
func (e entry) moment() string {
	return e.at.Truncate(time.Second).Add(time.Second - 1).UTC().Format(time.RFC3339Nano)
}

// checkEach restores every entry on a machine, and compares every byte.
func (d *diary) checkEach(on *node) {
	d.t.Helper()
	d.pastSecond(d.entries[len(d.entries)-1].at)
	for _, e := range d.entries {
		d.check(on, e)
	}
}

func (d *diary) check(on *node, e entry) {
	d.t.Helper()
	d.checkAt(on, e, e.moment())
}

// checkAt restores a moment, and compares it with an entry.
func (d *diary) checkAt(on *node, e entry, moment string) {
	d.t.Helper()
	d.restored++
	as := fmt.Sprintf("%s-%d", d.volume, d.restored)
	on.do("volume", "restore", d.volume, "--at", moment, "--as", as)
	e.compare(on, on.attach(as), as)
	on.do("volume", "detach", as)
	on.do("volume", "rm", as)
}

// compare compares the files of a folder with what they were.
func (e entry) compare(n *node, dir, volume string) {
	n.t.Helper()
	names := slices.Sorted(maps.Keys(e.files))
	if got := filesIn(n, dir); !slices.Equal(got, names) {
		n.t.Errorf("%s, as of %q: it has the files %v; want %v", volume, e.what, got, names)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, e.files[name]) {
			n.t.Errorf("%s, as of %q: %s has %d bytes that are not those of %v, %v", volume, e.what, name, len(got), e.at, err)
		}
	}
}

// filesIn are the names of the files that a test made.
func filesIn(n *node, dir string) (names []string) {
	n.t.Helper()
	all, err := os.ReadDir(dir)
	must(n.t, err)
	for _, f := range all {
		if !f.IsDir() {
			names = append(names, f.Name())
		}
	}
	return names
}
