package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
)

// view is the records as this node last knew them.
type view struct {
	changed chan struct{} // has room for one: something is to be written

	mu       sync.RWMutex // guards everything below; never held across I/O
	records  map[ballast.VolumeID]versioned
	names    map[string]ballast.VolumeID   // of the volumes outside of the trash (C2)
	purged   map[ballast.VolumeID]struct{} // ids never come back: a late event must not revive one
	complete bool                          // everything that exists is here (C4)
	nodes    map[ballast.NodeID]Node
	members  []Member // who holds etcd, as was last said
	feeds    map[*Feed]struct{}
}

// versioned is a record and the revision of etcd that it is from.
type versioned struct {
	Record
	rev int64
}

func newView() *view {
	return &view{
		changed: make(chan struct{}, 1),
		records: map[ballast.VolumeID]versioned{},
		names:   map[string]ballast.VolumeID{},
		purged:  map[ballast.VolumeID]struct{}{},
		nodes:   map[ballast.NodeID]Node{},
		feeds:   map[*Feed]struct{}{},
	}
}

// byName returns the volume of that name outside of the trash (C4).
func (v *view) byName(name string) (versioned, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if id, ok := v.names[name]; ok {
		return v.records[id], nil
	}
	if !v.complete {
		return versioned{}, fmt.Errorf("volume %q: the volume records are not readable yet: %w", name, ballast.ErrNotReady)
	}
	return versioned{}, notFound(name)
}

func (v *view) byID(id ballast.VolumeID) (versioned, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if r, ok := v.records[id]; ok {
		return r, nil
	}
	if !v.complete {
		return versioned{}, fmt.Errorf("volume id %s: the volume records are not readable yet: %w", id, ballast.ErrNotReady)
	}
	return versioned{}, fmt.Errorf("no volume with id %s: %w", id, ballast.ErrNotFound)
}

// all returns the records in or outside of the trash, sorted by name.
func (v *view) all(trash bool) []Record {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var records []Record
	for _, r := range v.records {
		if r.InTrash() == trash {
			records = append(records, r.Record)
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return records
}

// put takes in a record as of a revision, unless a later one is known.
func (v *view) put(r Record, rev int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old, known := v.records[r.ID]
	if _, purged := v.purged[r.ID]; purged || known && old.rev >= rev {
		return
	}
	r.Revision = rev
	v.records[r.ID] = versioned{r, rev}
	v.renameLocked(old.Record, r)
	v.signalLocked(change{volume: r.ID})
}

// renameLocked keeps names true to one record that changed.
func (v *view) renameLocked(old, r Record) {
	if v.names[old.Name] == r.ID {
		delete(v.names, old.Name)
	}
	if !r.InTrash() {
		v.names[r.Name] = r.ID
	}
}

func (v *view) purge(id ballast.VolumeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.purged[id] = struct{}{}
	if r, ok := v.records[id]; ok {
		delete(v.records, id)
		if v.names[r.Name] == id {
			delete(v.names, r.Name)
		}
		v.signalLocked(change{volume: id})
	}
}

// replace takes in what exists as of a revision, and whether that is all of it.
// A record that is known from a later revision is kept.
func (v *view) replace(all []versioned, rev int64, complete bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	records := map[ballast.VolumeID]versioned{}
	for _, r := range all {
		r.Revision = r.rev
		records[r.ID] = r
	}
	for id, r := range v.records {
		if r.rev > rev {
			records[id] = r
		}
	}
	maps.DeleteFunc(records, func(id ballast.VolumeID, _ versioned) bool { _, purged := v.purged[id]; return purged })
	v.records, v.complete = records, complete
	v.nameAllLocked()
	v.signalLocked(change{all: true})
}

func (v *view) nameAllLocked() {
	v.names = map[string]ballast.VolumeID{}
	for id, r := range v.records {
		if !r.InTrash() {
			v.names[r.Name] = id
		}
	}
}

// signalLocked has a change written, and tells of it.
func (v *view) signalLocked(c change) {
	for f := range v.feeds {
		f.note(c)
	}
	select {
	case v.changed <- struct{}{}:
	default: // it will be written with the change that waits already
	}
}

func (v *view) size() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.records)
}
