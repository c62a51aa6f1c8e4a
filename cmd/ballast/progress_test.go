package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// clock is a clock that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

const gib = 1 << 30

// uploaded is a report of upload db, done of 4 GiB.
func uploaded(done uint64) *ballastv1.Progress {
	return &ballastv1.Progress{Step: "upload db", DoneBytes: done, TotalBytes: 4 * gib}
}

// step is a report and how long after the one before it came.
type step struct {
	after time.Duration
	at    *ballastv1.Progress
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name    string
		columns int
		steps   []step
		want    string
	}{
		{"short work says nothing in a log", 0, []step{{0, uploaded(0)}, {9 * time.Second, uploaded(4 * gib)}}, ""},
		{"long work says something every ten seconds", 0, []step{
			{0, uploaded(0)}, {10 * time.Second, uploaded(1 * gib)}, {time.Second, uploaded(2 * gib)}, {9 * time.Second, uploaded(3 * gib)},
		}, "ballast: upload db: 1 GiB of 4 GiB, 102.4 MiB/s, 30 seconds left\nballast: upload db: 3 GiB of 4 GiB, 153.6 MiB/s, 7 seconds left\n"},
		{"what was there when it began is not its speed", 0, []step{{0, uploaded(3 * gib)}, {10 * time.Second, uploaded(3*gib + 10)}},
			"ballast: upload db: 3 GiB of 4 GiB, 1 B/s, 1000 days left\n"},
		{"a total that nobody knows", 0, []step{{0, &ballastv1.Progress{}}, {10 * time.Second, &ballastv1.Progress{DoneBytes: 10240}}},
			"ballast: working: 10 KiB, 1 KiB/s\n"},
		{"pieces are no bytes", 0, []step{{0, &ballastv1.Progress{Step: "reading trees", Unit: "pieces", TotalBytes: 96}}, {10 * time.Second, &ballastv1.Progress{Step: "reading trees", DoneBytes: 20, Unit: "pieces", TotalBytes: 96}}},
			"ballast: reading trees: 20 of 96, 2/s, 38 seconds left\n"},
		{"few bytes are no pieces", 0, []step{{10 * time.Second, &ballastv1.Progress{Step: "reading packs", Unit: "bytes", DoneBytes: 20, TotalBytes: 96}}},
			"ballast: reading packs: 20 B of 96 B\n"},
		{"many pieces are no bytes", 0, []step{{10 * time.Second, &ballastv1.Progress{Step: "reading trees", Unit: "pieces", DoneBytes: 100_000}}},
			"ballast: reading trees: 100000\n"},
		{"a step has its own speed", 0, []step{{0, uploaded(0)}, {10 * time.Second, &ballastv1.Progress{Step: "write the index"}}},
			"ballast: write the index: 0 B\n"},
		{"more done than there is", 0, []step{{0, uploaded(0)}, {10 * time.Second, uploaded(5 * gib)}},
			"ballast: upload db: 5 GiB of 4 GiB, 512 MiB/s\n"},
		{"a message without progress", 0, []step{{10 * time.Second, nil}}, ""},
		{"a bar is drawn at once and anew", 90, []step{{time.Second, uploaded(0)}, {2 * time.Second, uploaded(2 * gib)}},
			"\r[------------------------]   0%  upload db: 0 B of 4 GiB\x1b[K" +
				"\r[############------------]  50%  upload db: 2 GiB of 4 GiB, 1 GiB/s, 2 seconds left\x1b[K"},
		{"a bar is not drawn faster than eyes can see", 90, []step{{time.Second, uploaded(0)}, {99 * time.Millisecond, uploaded(gib)}},
			"\r[------------------------]   0%  upload db: 0 B of 4 GiB\x1b[K"},
		{"a bar never wraps", 30, []step{{time.Second, uploaded(gib)}}, "\r[######------------------]  2\x1b[K"},
		{"no picture of what has no total", 80, []step{{time.Second, &ballastv1.Progress{Step: "look", DoneBytes: 1024}}}, "\rlook: 1 KiB\x1b[K"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var screen strings.Builder
			now := &clock{testNow}
			p := &progress{w: &screen, columns: tt.columns, now: now.now, told: now.at}
			for _, s := range tt.steps {
				now.at = now.at.Add(s.after)
				p.update(s.at)
			}
			if screen.String() != tt.want {
				t.Errorf("got  %q\nwant %q", screen.String(), tt.want)
			}
		})
	}
}

// TestPrintingAboveTheBar keeps a result from being written into the bar's line.
func TestPrintingAboveTheBar(t *testing.T) {
	var screen strings.Builder
	now := &clock{testNow}
	p := &progress{w: &screen, columns: 60, now: now.now}
	p.update(&ballastv1.Progress{Step: "look"})
	if _, err := (aboveBar{p, &screen}).Write([]byte("db is back\n")); err != nil {
		t.Fatal(err)
	}
	p.clear()
	if want := "\rlook: 0 B\x1b[K\r\x1b[Kdb is back\n"; screen.String() != want {
		t.Errorf("got %q; want %q", screen.String(), want)
	}
}
