package archive

import (
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// History is what the archive has of a volume, as it was when it was read. It does
// not change.
type History struct {
	Volume   ballast.VolumeID
	Name     string             // as the newest writer knew it
	Spec     ballast.VolumeSpec // likewise
	Removed  time.Time          // when the volume was removed; zero: it was not
	Bases    []Base             // those on the line that is read, by LSN
	Problems []string           // what is missing or damaged, for people

	line    *tail.Line
	strays  []Base   // those that are on no line
	objects []object // of the line, by LSN
	runs    []run    // of objects; see judge
	begin   *beginning
	head    ballast.LSN // the last record that something says was archived
	behind  error       // the line goes on behind its end, nobody knows how far; nil: it does not
	marks   []mark      // all points by LSN; see judge
}

// object is an object of the tail, without its data.
type object struct {
	Object
	bytes  int64        // in the store
	points []tail.Point // by LSN
}

// beginning is a volume before its first record.
type beginning struct {
	point  tail.Point
	origin *Plan // what it was; nil: all zeros
	err    error // why its origin cannot be restored; nil: it can
}

// Window is a stretch of time of which every second can be restored.
type Window struct {
	From, Until time.Time
}

// Windows returns the stretches that the tail covers, oldest first. A moment
// between two of them can be restored only where a base is.
func (h *History) Windows() []Window {
	var windows []Window
	for i := 0; i < len(h.marks); i++ {
		from := i
		for i+1 < len(h.marks) && h.joined(i) {
			i++
		}
		if i > from {
			windows = append(windows, Window{From: h.marks[from].point.Time, Until: h.marks[i].point.Time})
		}
	}
	return windows
}

// joined reports whether nothing is missing between a mark and the next.
func (h *History) joined(i int) bool {
	first, last := h.missing(i)
	return first > last && h.marks[i].whole && h.marks[i+1].whole
}

// Newest returns the newest point that can be restored; false: there is none. It
// may be older than the newest that there was: see Problems.
func (h *History) Newest() (tail.Point, bool) {
	m := h.newestWhole(len(h.marks) - 1)
	if m == nil {
		return tail.Point{}, false
	}
	return m.point, true
}

// newestWhole returns the last mark up to the i-th that can be restored, or nil.
func (h *History) newestWhole(i int) *mark {
	for ; i >= 0; i-- {
		if h.marks[i].whole {
			return &h.marks[i]
		}
	}
	return nil
}
