package archiver

import (
	"testing"
	"time"
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
		state:   State{HasBase: true, BaseLSN: 10, BaseTime: now.Add(-time.Minute), LSN: 20, TailBytes: 1 << 20, TailObjects: 12},
		touched: 1 << 30, now: now,
	}
	for _, tt := range []struct {
		name   string
		change func(*baseFacts)
		due    bool
	}{
		{"nothing to gain", func(*baseFacts) {}, false},
		{"nothing was ever written", func(f *baseFacts) { f.state = State{} }, false},
		{"none yet", func(f *baseFacts) { f.state = State{LSN: 3} }, true},
		{"none yet, and parts are in the archive alone", func(f *baseFacts) { f.state, f.hydrating = State{LSN: 3}, true }, false},
		{"one runs", func(f *baseFacts) { f.state, f.running = State{LSN: 3}, true }, false},
		{"the last attempt failed just now", func(f *baseFacts) { f.state, f.retryAt = State{LSN: 3}, now.Add(time.Second) }, false},
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

func TestState(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 10, minute, 0, 0, time.UTC) }
	var a State
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

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"version":1,"tail":{"epoch":3,"last":7},"lsn":7,"tail_bytes":9,"tail_objects":1,"gaps":[{"from":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"tail_bytes":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeState(data)
		if err == nil && (a.TailBytes < 0 || a.TailObjects < 0 || len(a.Gaps) > maxGaps) {
			t.Errorf("accepted %+v", a)
		}
	})
}
