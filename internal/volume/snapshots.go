package volume

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	maxSnapshots = 8 // that are read at once; one of them is the archive's
	spillPrefix  = "snapshot."
)

func spillName(slot int) string { return fmt.Sprint(spillPrefix, slot) }

// errNoRoom says that as much is saved for snapshots as may be.
var errNoRoom = errors.New("more was overwritten than may be saved for snapshots")

// snapshots are those that are being read, and what they may take together.
type snapshots struct {
	spilled room

	mu   sync.Mutex // orders changes of open
	open atomic.Pointer[[]*Snapshot]
}

// list returns the snapshots; it must not be changed.
func (l *snapshots) list() []*Snapshot {
	if open := l.open.Load(); open != nil {
		return *open
	}
	return nil
}

// add gives a snapshot a slot, if there is one for it.
func (l *snapshots) add(s *Snapshot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := l.list()
	alike, most := 0, maxSnapshots-1
	if s.base {
		most = 1
	}
	for _, o := range open {
		if o.base == s.base {
			alike++
		}
	}
	if alike >= most {
		return false
	}
	for slices.ContainsFunc(open, func(o *Snapshot) bool { return o.slot == s.slot }) {
		s.slot++
	}
	next := append(slices.Clone(open), s)
	l.open.Store(&next)
	return true
}

func (l *snapshots) remove(s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(l.list()), func(o *Snapshot) bool { return o == s })
	l.open.Store(&next)
}

// largest returns the snapshot that most is saved for; s, if nothing is for any.
func (l *snapshots) largest(s *Snapshot) *Snapshot {
	most := s.takes()
	for _, o := range l.list() {
		if n := o.takes(); n > most {
			s, most = o, n
		}
	}
	return s
}

// takes is how many bytes are saved for the snapshot.
func (s *Snapshot) takes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.taken
}

// room is a share of the disk, in bytes.
type room struct {
	limit int64 // constant once the volume is open
	used  atomic.Int64
}

func (r *room) take(n int64) error {
	if r.used.Add(n) > r.limit {
		r.used.Add(-n)
		return fmt.Errorf("%w: %d bytes", errNoRoom, r.limit)
	}
	return nil
}

func (r *room) give(n int64) { r.used.Add(-n) }

// removeSpills removes what snapshots left that a crash ended.
func removeSpills(fsys vfs.FS, dir string) {
	names, err := fsys.List(dir)
	if err != nil {
		return // nothing of it is ever read; the next snapshots replace it
	}
	for _, name := range names {
		if name == "snapshot" || strings.HasPrefix(name, spillPrefix) { // as an earlier release named it
			_ = fsys.Remove(path.Join(dir, name)) // or the next snapshot does
		}
	}
}
