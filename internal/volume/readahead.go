package volume

import "fmt"

// readAhead is how many segments are read while one is looked at: recovery is
// what stands between a crash and the next start, and reading takes longer.
const readAhead = 2

// loaded is a segment's bytes, or why they could not be read.
type loaded struct {
	buf []byte
	err error
}

// segmentReader reads whole segments, those that come next ahead of time. It is
// not safe for concurrent use; the caller must close it.
type segmentReader struct {
	order   []*segment // as they will be asked for
	pending map[*segment]chan loaded
	spare   [][]byte
}

func newSegmentReader(order []*segment) *segmentReader {
	return &segmentReader{order: order, pending: map[*segment]chan loaded{}}
}

// load returns the bytes of s, which are good until the next load.
func (r *segmentReader) load(s *segment) ([]byte, error) {
	r.begin(s)
	for i, next := range r.order {
		if next == s {
			for _, n := range r.order[i+1 : min(i+1+readAhead, len(r.order))] {
				r.begin(n)
			}
		}
	}
	got := <-r.pending[s]
	delete(r.pending, s)
	r.spare = append(r.spare, got.buf)
	return got.buf, got.err
}

// begin starts to read s, unless that is under way.
func (r *segmentReader) begin(s *segment) {
	if r.pending[s] != nil {
		return
	}
	var buf []byte
	if n := len(r.spare); n > 0 {
		buf, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		buf = make([]byte, s.blocks*blockSize)
	}
	done := make(chan loaded, 1)
	r.pending[s] = done
	go func() {
		_, err := s.file.ReadAt(buf, 0)
		if err != nil {
			err = fmt.Errorf("read log: %w", err)
		}
		done <- loaded{buf, err}
	}()
}

// close waits for what was begun and not asked for.
func (r *segmentReader) close() {
	for _, done := range r.pending {
		<-done
	}
}
