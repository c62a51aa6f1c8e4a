package cluster

import (
	"maps"
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
)

// change is what is told of one change.
type change struct {
	volume ballast.VolumeID
	nodes  bool
	all    bool
}

// Changes is what has changed since it was last taken.
type Changes struct {
	Volumes []ballast.VolumeID // whose record changed or went, in order of their ids
	Nodes   bool               // a node came, went, changed, or began another session
	All     bool               // everything was read anew: any of it may have changed
}

// Feed tells of changes of the records and nodes. What is not taken adds up to no more
// than the ids of the volumes. It is safe for concurrent use.
type Feed struct {
	ready chan struct{}
	view  *view

	mu      sync.Mutex // guards everything below
	volumes map[ballast.VolumeID]struct{}
	rest    Changes // Volumes apart
}

// Follow returns a feed of all changes from now on. The caller must Close it.
func (r *Records) Follow() *Feed {
	f := &Feed{ready: make(chan struct{}, 1), view: r.view, volumes: map[ballast.VolumeID]struct{}{}}
	r.view.mu.Lock()
	defer r.view.mu.Unlock()
	r.view.feeds[f] = struct{}{}
	return f
}

// Ready has a value when there is something to take.
func (f *Feed) Ready() <-chan struct{} { return f.ready }

// Take returns what changed since the last time. It does not wait.
func (f *Feed) Take() Changes {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.rest
	out.Volumes = slices.Sorted(maps.Keys(f.volumes))
	clear(f.volumes)
	f.rest = Changes{}
	return out
}

// Close ends the feed.
func (f *Feed) Close() {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	delete(f.view.feeds, f)
}

func (f *Feed) note(c change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.volume != "" {
		f.volumes[c.volume] = struct{}{}
	}
	f.rest.Nodes = f.rest.Nodes || c.nodes || c.all
	f.rest.All = f.rest.All || c.all
	select {
	case f.ready <- struct{}{}:
	default: // it has been told already, and takes this as well
	}
}

// tell tells the feeds of what is not stored in the view.
func (v *view) tell(c change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for f := range v.feeds {
		f.note(c)
	}
}
