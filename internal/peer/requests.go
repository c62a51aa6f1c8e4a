package peer

import (
	"net/http"
	"sync"
	"time"
)

const (
	joinGrace = 3 * time.Second  // that a join may take to end by itself
	endGrace  = 10 * time.Second // that a request may take to see that its connection is closed
)

// requests are those under way, so that they can be waited for.
type requests struct {
	mu    sync.Mutex // guards everything below
	ended bool
	left  int
	none  chan struct{} // closed when it has ended and none is left
}

func newRequests() *requests { return &requests{none: make(chan struct{})} }

// count lets handler answer until end is called.
func (r *requests) count(handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.begin() {
			http.Error(w, "this node's agent ends", http.StatusServiceUnavailable)
			return
		}
		defer r.done()
		handler(w, req)
	})
}

func (r *requests) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.left++
	}
	return !r.ended
}

func (r *requests) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.ended && r.left == 0 {
		close(r.none)
	}
}

// end lets no more begin, and reports whether all have ended within a while. It may be called again.
func (r *requests) end(within time.Duration) bool {
	r.mu.Lock()
	if !r.ended && r.left == 0 {
		close(r.none)
	}
	r.ended = true
	r.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-r.none:
		return true
	case <-timer.C:
		return false
	}
}
