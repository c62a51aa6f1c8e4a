package volume

import (
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
)

// places remembers where in the log readers stopped, the latest last: each goes on from
// where it was, and who comes anew finds one that is near. It is safe for
// concurrent use.
type places struct {
	mu   sync.Mutex // guards everything below
	list []place
}

// note remembers a place.
func (p *places) note(at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.DeleteFunc(p.list, func(old place) bool { return old.next == at.next })
	if len(p.list) == maxPlaces {
		p.list = slices.Delete(p.list, 0, 1)
	}
	p.list = append(p.list, at)
}

// find returns the last place at which next, or a record before it, comes.
func (p *places) find(next ballast.LSN) (best place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.list {
		if at.next <= next && at.next > best.next {
			best = at
		}
	}
	return best
}
