package volume

import (
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

// TestFollow: a reader who goes on from chunk to chunk is read ahead of, more
// each time; one who jumps is not.
func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reads [][2]int
		want  []int
	}{
		{"one chunk", [][2]int{{5, 5}, {5, 5}}, nil},
		{"jumps", [][2]int{{5, 5}, {9, 9}, {1, 1}}, nil},
		{"goes on", [][2]int{{5, 5}, {6, 6}, {7, 7}, {8, 8}}, []int{7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
		{"two at once", [][2]int{{5, 5}, {90, 90}, {6, 6}, {91, 91}}, []int{7, 8, 92, 93}},
		{"long reads", [][2]int{{5, 7}, {8, 10}}, []int{11, 12}},
		{"backwards", [][2]int{{5, 5}, {4, 4}, {3, 3}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s []stream
			var got []int
			for _, r := range tt.reads {
				var from, end int
				s, from, end = follow(s, r[0], r[1])
				for c := from; c < end; c++ {
					got = append(got, c)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("read ahead %v; want %v", got, tt.want)
			}
		})
	}
}

// TestBackgroundGivesWay: nothing is fetched in the background while a caller
// waits, nor faster than it may be, nor right after a failure.
func TestBackgroundGivesWay(t *testing.T) {
	now := time.Unix(1000, 0)
	c := &chunks{table: make([]uint64, 100)}
	h := &hydration{}
	h.init(c, Options{HydrateRate: ballast.ChunkSize, Source: slow{}})
	next := func(at time.Time) int {
		f, _, pause := h.next(at)
		if f == nil {
			if pause <= 0 {
				t.Error("there is nothing to fetch, and no pause")
			}
			return -1
		}
		h.land(f)
		return f.chunk
	}
	want := func(at time.Time, chunk int, why string) {
		t.Helper()
		if got := next(at); got != chunk {
			t.Errorf("next = %d; want %d: %s", got, chunk, why)
		}
	}
	want(now, 0, "the first one")
	want(now, -1, "one a second")
	now = now.Add(time.Second)
	h.attend(+1)
	want(now, -1, "somebody waits")
	h.attend(-1)
	want(now, 1, "nobody waits")
	now = now.Add(time.Second)
	want(now, -1, "two are on their way")
	h.readAt(50*ballast.ChunkSize, blockSize)
	h.readAt(51*ballast.ChunkSize, blockSize)
	want(now, 52, "it is next to what was read")
	want(now, 53, "so is this")
	h.landed(inBackground, errAway, now)
	want(now, -1, "the last one failed")
	want(now.Add(patience), 2, "that was a while ago")
}
