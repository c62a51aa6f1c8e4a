package agent

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
)

// The conditions that a node can be in, beside those of packages archiver and verify.
const (
	condRecords      = "records-unavailable"
	condDiskFull     = "disk-full"
	condEngineFailed = "engine-failed"
	condEngineSilent = "engine-not-answering"
	condEngineError  = "volume-stopped"
	condStillMounted = "still-mounted"
	condStaleHolders = "stale-holders"
	condNotGrown     = "not-grown"
	condFenced       = "volume-fenced"
	condWaiting      = "copies-missing"
)

// condition is something an operator should know or act on.
type condition struct {
	volume ballast.VolumeID // empty: the node's
	code   string           // stable, for machines
	title  string           // what is wrong and what it means for the data
	since  time.Time
	hint   string // what to type next
}

// health is the conditions that hold at present.
type health struct {
	mu  sync.Mutex // guards set
	set map[conditionKey]condition
}

type conditionKey struct {
	volume ballast.VolumeID
	code   string
}

func newHealth() *health { return &health{set: map[conditionKey]condition{}} }

// raise says that a condition holds; one that holds already keeps its since.
func (h *health) raise(volume ballast.VolumeID, code, title, hint string) {
	h.raiseSince(volume, code, title, hint, time.Now())
}

// raiseSince is raise for what is noticed later than it began.
func (h *health) raiseSince(volume ballast.VolumeID, code, title, hint string, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := conditionKey{volume, code}
	if old, ok := h.set[key]; ok {
		since = old.since
	}
	h.set[key] = condition{volume, code, title, since, hint}
}

// clear says that conditions do not hold; no codes means all of the volume's.
func (h *health) clear(volume ballast.VolumeID, codes ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.set {
		if key.volume == volume && (len(codes) == 0 || slices.Contains(codes, key.code)) {
			delete(h.set, key)
		}
	}
}

// holds reports whether a condition holds.
func (h *health) holds(volume ballast.VolumeID, code string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.set[conditionKey{volume, code}]
	return ok
}

// list returns the conditions that want says, the oldest first.
func (h *health) list(want func(ballast.VolumeID) bool) []condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []condition
	for _, c := range h.set {
		if want(c.volume) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b condition) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.code, b.code), cmp.Compare(a.volume, b.volume))
	})
	return found
}

func (h *health) of(volume ballast.VolumeID) []condition {
	return h.list(func(v ballast.VolumeID) bool { return v == volume })
}

func (h *health) all() []condition {
	return h.list(func(ballast.VolumeID) bool { return true })
}
