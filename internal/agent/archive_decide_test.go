package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		failures int
		share    float64
		want     time.Duration
	}{
		{1, 1, time.Second},
		{1, 0, time.Second / 2},
		{2, 1, 2 * time.Second},
		{6, 1, 32 * time.Second},
		{7, 1, time.Minute},
		{1000000, 1, time.Minute},
		{1000000, 0, 30 * time.Second},
	} {
		if got := backoff(tt.failures, tt.share); got != tt.want {
			t.Errorf("backoff(%d, %g) = %s; want %s", tt.failures, tt.share, got, tt.want)
		}
	}
}

func TestBaseDue(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	well := baseFacts{
		state:   archiveState{HasBase: true, BaseLSN: 10, BaseTime: now.Add(-time.Minute), LSN: 20, TailBytes: 1 << 20, TailObjects: 12},
		touched: 1 << 30, now: now,
	}
	for _, tt := range []struct {
		name   string
		change func(*baseFacts)
		due    bool
	}{
		{"nothing to gain", func(*baseFacts) {}, false},
		{"nothing was ever written", func(f *baseFacts) { f.state = archiveState{} }, false},
		{"none yet", func(f *baseFacts) { f.state = archiveState{LSN: 3} }, true},
		{"none yet, and parts are in the archive alone", func(f *baseFacts) { f.state, f.hydrating = archiveState{LSN: 3}, true }, false},
		{"one runs", func(f *baseFacts) { f.state, f.running = archiveState{LSN: 3}, true }, false},
		{"the last attempt failed just now", func(f *baseFacts) { f.state, f.retryAt = archiveState{LSN: 3}, now.Add(time.Second) }, false},
		{"an hour", func(f *baseFacts) { f.state.BaseTime = now.Add(-time.Hour) }, true},
		{"an hour without a change", func(f *baseFacts) { f.state.BaseTime, f.state.LSN = now.Add(-time.Hour), 10 }, false},
		{"many objects", func(f *baseFacts) { f.state.TailObjects = maxTailObjects }, true},
		{"a gap", func(f *baseFacts) { f.state = f.state.withGap(now) }, true},
		{"a gap that was closed", func(f *baseFacts) { f.state = f.state.withGap(now).withBase("b", 15, now, 0, 0) }, false},
		{"as much tail as changed", func(f *baseFacts) { f.state.TailBytes = 1 << 30 }, false},
		{"much more tail than changed", func(f *baseFacts) { f.state.TailBytes = 2 << 30 }, true},
		{"little changed, over and over", func(f *baseFacts) { f.touched, f.state.TailBytes = 1<<20, minTailBytes }, true},
		{"little changed", func(f *baseFacts) { f.touched, f.state.TailBytes = 1<<20, minTailBytes-1 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := well
			tt.change(&f)
			if got := baseDue(f); (got != "") != tt.due {
				t.Errorf("due: %q; want %t", got, tt.due)
			}
		})
	}
}

func TestParseFrom(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		in   string
		name string // "": refused
		want moment
	}{
		{"db", "db", moment{}},
		{"db@10:42:06", "db", moment{at: time.Date(2026, 11, 21, 10, 42, 6, 0, time.UTC)}},
		{"db@2026-11-20T10:42:06Z", "db", moment{at: time.Date(2026, 11, 20, 10, 42, 6, 0, time.UTC)}},
		{"db@5m ago", "db", moment{at: now.Add(-5 * time.Minute)}},
		{"db@before-upgrade", "db", moment{snapshot: "before-upgrade"}},
		{"db@0a1b2c3d", "db", moment{snapshot: "0a1b2c3d"}},
		{"db@25:99", "", moment{}},
		{"db@", "", moment{}},
		{"", "", moment{}},
		{"@10:42", "", moment{}},
		{"../db@10:42", "", moment{}},
		{"db@a,b", "", moment{}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			name, got, err := parseFrom(tt.in, now)
			if tt.name == "" {
				if !errors.Is(err, ballast.ErrInvalid) {
					t.Errorf("parseFrom = %q, %v, %v; want it refused", name, got, err)
				}
				return
			}
			if err != nil || name != tt.name || !got.at.Equal(tt.want.at) || got.snapshot != tt.want.snapshot {
				t.Errorf("parseFrom = %q, %v, %v; want %q, %v", name, got, err, tt.name, tt.want)
			}
		})
	}
}

func TestSpecFrom(t *testing.T) {
	source := ballast.DefaultVolumeSpec()
	source.Size, source.Labels = 20<<30, map[string]string{"app": "x"}
	for _, tt := range []struct {
		name    string
		options map[string]string
		ok      bool
	}{
		{"nothing", nil, true},
		{"agrees", map[string]string{"size": "20G", "fs": "ext4"}, true},
		{"labels and keep are its own", map[string]string{"label.app": "y", "keep": "daily 7d"}, true},
		{"a retention that nobody understands", map[string]string{"keep": "for ever"}, false},
		{"another size", map[string]string{"size": "30G"}, false},
		{"another class", map[string]string{"class": "cache"}, false},
		{"unknown", map[string]string{"sise": "20G"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := specFrom(source, tt.options); (err == nil) != tt.ok || err != nil && !errors.Is(err, ballast.ErrInvalid) {
				t.Errorf("specFrom: %v; want accepted %t", err, tt.ok)
			}
		})
	}
}

func TestAcceptRestored(t *testing.T) {
	rec := cluster.Record{Name: "x", Spec: ballast.DefaultVolumeSpec(), Origin: &cluster.Origin{Asked: "db@10:42"}}
	for _, tt := range []struct {
		name, from string
		options    map[string]string
		want       error
	}{
		{"the same", "db@10:42", nil, nil},
		{"the same with its size", "db@10:42", map[string]string{"size": "10G"}, nil},
		{"another moment", "db@10:43", nil, ballast.ErrExists},
		{"another size", "db@10:42", map[string]string{"size": "30G"}, ballast.ErrExists},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := acceptRestored(rec, tt.from, tt.options); !errors.Is(err, tt.want) {
				t.Errorf("acceptRestored = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestArchiveState(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 10, minute, 0, 0, time.UTC) }
	var a archiveState
	a = a.withShipment(10, at(1), 100).withShipment(20, time.Time{}, 50)
	if a.LSN != 20 || !a.Until.Equal(at(1)) || a.TailBytes != 150 || a.TailObjects != 2 {
		t.Errorf("after two shipments: %+v", a)
	}
	b := a.withGap(at(2)).withGap(at(3))
	if !b.open() || len(b.Gaps) != 1 || a.open() {
		t.Errorf("after a gap: %+v; want one that is open, and the original as it was", b)
	}
	// What was shipped while the snapshot was read is behind it.
	c := b.withBase("b", 30, at(4), 100, 1)
	if c.open() || b.open() == false || c.TailBytes != 50 || c.TailObjects != 1 || !c.Until.Equal(at(4)) {
		t.Errorf("after a base snapshot: %+v", c)
	}
}

func FuzzDecodeArchiveState(f *testing.F) {
	f.Add([]byte(`{"version":1,"tail":{"epoch":3,"last":7},"lsn":7,"tail_bytes":9,"tail_objects":1,"gaps":[{"from":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"tail_bytes":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeArchiveState(data)
		if err == nil && (a.TailBytes < 0 || a.TailObjects < 0 || len(a.Gaps) > maxGaps) {
			t.Errorf("accepted %+v", a)
		}
	})
}
