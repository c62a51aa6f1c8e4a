package volume

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

const (
	streams         = 4 // readers that are followed at once
	aheadLimit      = 8 // chunks that are fetched ahead of one
	aheadQueue      = streams * aheadLimit
	aheadFlights    = 4 // fetched ahead at a time
	backgroundLimit = 2 // fetched at a time because they are missing at all
	patience        = 5 * time.Second
)

// stream is a reader who goes from chunk to chunk.
type stream struct {
	last   int // chunk that was read
	ahead  int // chunks before this one are on their way
	window int // how many to fetch ahead
}

// follow notes that the chunks from first to last were read, and returns which
// to fetch ahead: none of a reader who jumps, and of one who goes on from chunk
// to chunk twice as many each time.
func follow(s []stream, first, last int) (_ []stream, from, end int) {
	i := slices.IndexFunc(s, func(s stream) bool { return first == s.last || first == s.last+1 })
	if i < 0 {
		if len(s) == streams {
			s = slices.Delete(s, 0, 1)
		}
		return append(s, stream{last, last + 1, 1}), 0, 0
	}
	now := s[i]
	if last <= now.last {
		return s, 0, 0
	}
	s = append(slices.Delete(s, i, i+1), stream{}) // the one that is dropped first stands first
	now.window = min(2*now.window, aheadLimit)
	from, end = max(now.ahead, last+1), last+1+now.window
	now.last, now.ahead = last, max(now.ahead, end)
	s[len(s)-1] = now
	return s, from, end
}

// pace decides which chunk is fetched next when nobody waits for one.
type pace struct {
	rate    int64 // bytes a second; 0: as fast as can be
	streams []stream
	ahead   []int // to be fetched ahead of readers, oldest first
	flying  [2]int
	cursor  int       // chunks before it were tried
	due     time.Time // no chunk of the background before
	retry   time.Time // nothing at all before: the last attempt failed
	backoff time.Duration
}

// urgency says why a chunk is fetched.
type urgency uint8

const (
	inBackground  urgency = iota // because it is missing
	aheadOfReader                // because its neighbour was read
)

// readAt notes what is read, so that what follows can be fetched ahead.
func (h *hydration) readAt(off, n int64) {
	if n == 0 || h.source == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.background
	var from, end int
	p.streams, from, end = follow(p.streams, chunkOf(off), chunkOf(off+n-1))
	for c := h.missing.next(from); c >= 0 && c < end && len(p.ahead) < aheadQueue; c = h.missing.next(c + 1) {
		if h.flights[c] == nil && !slices.Contains(p.ahead, c) {
			p.ahead = append(p.ahead, c)
			tell(h.told)
		}
	}
}

// attend counts callers that wait for chunks. The background gives way to them.
func (h *hydration) attend(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.foreground += n
	if h.foreground == 0 {
		tell(h.told)
	}
}

// next returns the flight to make now, or how long to wait for one at most.
func (h *hydration) next(now time.Time) (f *flight, why urgency, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.background
	if now.Before(p.retry) {
		return nil, 0, p.retry.Sub(now)
	}
	for len(p.ahead) > 0 && p.flying[aheadOfReader] < aheadFlights {
		chunk := p.ahead[0]
		p.ahead = p.ahead[1:]
		if h.missing.has(chunk) && h.flights[chunk] == nil {
			p.flying[aheadOfReader]++
			return h.depart(chunk), aheadOfReader, 0
		}
	}
	if h.foreground > 0 || p.flying[inBackground] >= backgroundLimit {
		return nil, 0, patience
	}
	if now.Before(p.due) {
		return nil, 0, p.due.Sub(now)
	}
	chunk := h.nextMissing(p.cursor)
	if chunk < 0 {
		return nil, 0, patience
	}
	p.cursor = chunk + 1
	p.flying[inBackground]++
	if p.rate > 0 {
		p.due = now.Add(time.Duration(ballast.ChunkSize * int64(time.Second) / p.rate))
	}
	return h.depart(chunk), inBackground, 0
}

// nextMissing returns a chunk that is missing and not on its way, from one
// on if there is one, else from the first; -1 if there is none.
func (h *hydration) nextMissing(from int) int {
	for _, start := range [2]int{from, 0} {
		for c := h.missing.next(start); c >= 0; c = h.missing.next(c + 1) {
			if h.flights[c] == nil {
				return c
			}
		}
	}
	return -1
}

// landed notes how a flight of the background went. After a failure the next
// one waits, each time longer.
func (h *hydration) landed(why urgency, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.background
	p.flying[why]--
	if err == nil {
		p.backoff, p.retry = 0, time.Time{}
	} else {
		p.backoff = min(max(2*p.backoff, firstRetry), patience)
		p.retry = now.Add(p.backoff)
	}
	tell(h.told)
}
