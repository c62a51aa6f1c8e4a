package stream_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	raceRecord = 64 << 10 // bytes of each record, and batch
	raceChunks = 64       // of the volume: all have data
	raceSize   = raceChunks * ballast.ChunkSize
	raceUsed   = 16 << 20 // bytes that the log holds in any case
)

// fastLog is an open volume of which only the times count: every record is 64 KiB. It is
// what the hub reads, and keeps as much as a volume would.
type fastLog struct {
	mu      sync.Mutex
	epoch   ballast.Epoch
	last    ballast.LSN
	spared  bool
	applied ballast.LSN
	first   ballast.LSN             // the oldest record that it holds
	changed [raceChunks]ballast.LSN // each chunk's last change
}

func (l *fastLog) ID() ballast.VolumeID     { return testID }
func (l *fastLog) Epoch() ballast.Epoch     { return l.epoch }
func (l *fastLog) Size() int64              { return raceSize }
func (l *fastLog) Lineage() volume.Lineage  { return volume.Lineage{{Epoch: l.epoch, From: 1}} }
func (l *fastLog) Keep(string, ballast.LSN) {}
func (l *fastLog) Forget(string)            {}
func (l *fastLog) batch(lsn ballast.LSN) volume.Batch {
	block := int64(lsn) * 7 * raceRecord % raceSize / ballast.BlockSize
	return volume.Batch{
		Epoch: l.epoch, First: lsn, Data: make([]byte, raceRecord),
		Records: []volume.Record{{Block: ballast.Block(block), Count: raceRecord / ballast.BlockSize}},
	}
}

func (l *fastLog) Spare(_ string, spare bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spared = spare
	l.trim()
}

func (l *fastLog) keeps() int64 {
	if l.spared {
		return raceSize
	}
	return 0
}

func (l *fastLog) Pressure(after ballast.LSN) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keeps() == 0 {
		return 0
	}
	return float64(int64(l.last-min(after, l.last))*raceRecord-raceUsed) / float64(l.keeps())
}

func (l *fastLog) trim() {
	if n := ballast.LSN((raceUsed + l.keeps()) / raceRecord); l.last > n {
		l.first = max(l.first, l.last-n+1)
	}
}

// append adds a record.
func (l *fastLog) append() volume.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	b := l.batch(l.last)
	l.changed[int64(b.Records[0].Block)*ballast.BlockSize/ballast.ChunkSize] = l.last
	l.trim()
	return b
}

func (l *fastLog) Position() (last, durable, applied ballast.LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.last, l.applied
}

func (l *fastLog) ReadLog(after ballast.LSN, limit int64) (all []volume.Batch, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after+1 < l.first {
		return nil, volume.ErrRecycled
	}
	for lsn := after + 1; lsn <= l.last && (len(all) == 0 || int64(len(all))*raceRecord < limit); lsn++ {
		all = append(all, l.batch(lsn))
	}
	return all, nil
}

func (l *fastLog) SnapshotOf(_ context.Context, changedAfter func(chunk int) ballast.LSN) (stream.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &fastSnapshot{lsn: l.last, changed: l.changed}
	for chunk, lsn := range l.changed {
		if after := changedAfter(chunk); lsn > after || after == volume.Always {
			s.chunks = append(s.chunks, chunk)
		}
	}
	return s, nil
}

type fastSnapshot struct {
	lsn     ballast.LSN
	chunks  []int
	changed [raceChunks]ballast.LSN
}

func (s *fastSnapshot) LSN() ballast.LSN { return s.lsn }
func (s *fastSnapshot) Size() int64      { return raceSize }
func (s *fastSnapshot) Left() int        { return len(s.chunks) }
func (s *fastSnapshot) Close() error     { return nil }
func (s *fastSnapshot) Next([]byte) (chunk int, changed ballast.LSN, zero bool, err error) {
	if len(s.chunks) == 0 {
		return 0, 0, false, io.EOF
	}
	chunk, s.chunks = s.chunks[0], s.chunks[1:]
	return chunk, s.changed[chunk], false, nil
}

// slowCopy is a copy on a machine that takes its time.
type slowCopy struct {
	rate int64         // bytes a second that it writes
	sync time.Duration // that a sync takes

	mu     sync.Mutex
	state  volume.FollowerState
	staged map[int]ballast.LSN
	fills  int // how often it was brought to a point by chunks
}

// takes passes the time, in a bubble, that it takes to write n bytes.
func (c *slowCopy) takes(n int) { pass(time.Duration(int64(n) * int64(time.Second) / c.rate)) }

func (c *slowCopy) set(change func(*volume.FollowerState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

func (c *slowCopy) State() volume.FollowerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *slowCopy) Follow(epoch ballast.Epoch, lineage volume.Lineage, cut ballast.LSN) error {
	c.set(func(s *volume.FollowerState) { s.Epoch, s.Lineage, s.Last, s.Durable = epoch, lineage, cut, cut })
	return nil
}

func (c *slowCopy) Promise(epoch ballast.Epoch) error {
	c.set(func(s *volume.FollowerState) { s.Epoch = epoch })
	return nil
}

func (c *slowCopy) Append(b volume.Batch) error {
	c.takes(len(b.Data))
	c.set(func(s *volume.FollowerState) { s.Last = b.Last() })
	return nil
}

func (c *slowCopy) Sync() (ballast.LSN, error) {
	last := c.State().Last
	pass(c.sync)
	c.set(func(s *volume.FollowerState) { s.Durable = max(s.Durable, last) })
	return c.State().Durable, nil
}

func (c *slowCopy) Commit(lsn ballast.LSN) {
	c.set(func(s *volume.FollowerState) { s.Committed = max(s.Committed, lsn) })
}

func (c *slowCopy) Resize(int64) error                           { return nil }
func (c *slowCopy) ReadChunk(context.Context, int, []byte) error { return ballast.ErrNotReady }
func (c *slowCopy) Changed(ballast.LSN) []int                    { return nil }
func (c *slowCopy) Run(ctx context.Context) error                { <-ctx.Done(); return nil }
func (c *slowCopy) Close() error                                 { return nil }

func (c *slowCopy) Stage(to volume.StagePoint) (receiver.Staging, error) {
	if c.staged == nil {
		c.staged = map[int]ballast.LSN{}
	}
	return &slowStaging{c: c, to: to}, nil
}

type slowStaging struct {
	c  *slowCopy
	to volume.StagePoint
	n  int
}

func (s *slowStaging) Expect(int)                          {}
func (s *slowStaging) Staged() iter.Seq2[int, ballast.LSN] { return maps.All(s.c.staged) }
func (s *slowStaging) Close() error                        { return nil }

func (s *slowStaging) Put(chunk int, lsn ballast.LSN, data []byte) error {
	s.c.takes(len(data))
	s.c.staged[chunk] = lsn
	s.n++
	return nil
}

// Finish merges: all is written once more.
func (s *slowStaging) Finish() error {
	s.c.takes(len(s.c.staged) * ballast.ChunkSize)
	s.c.staged = nil
	s.c.fills++
	s.c.set(func(st *volume.FollowerState) {
		st.Last, st.Durable, st.Applied, st.Lineage, st.Complete = s.to.LSN, s.to.LSN, s.to.LSN, s.to.Lineage, true
	})
	return nil
}

// TestTellsWhatIsFolded: what the leader has folded is committed, and a copy that catches up is told so
// while nothing can be committed; its log could not hold it all otherwise.
func TestTellsWhatIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slowCopy{rate: 100 << 20, state: volume.FollowerState{ID: testID, Size: raceSize, Complete: true}}
		l := &fastLog{epoch: 1, first: 1}
		for l.last < 100 {
			l.append()
		}
		l.applied = 60
		record := newRecord("n1", "n2", "n3")
		record.m.InSync = []ballast.NodeID{"n1", "n3"} // which does not answer
		record.refuse()
		_, end := race(t, c, l, record, 0)
		defer end()
		pass(10 * time.Second)
		if got := c.State(); got.Last != l.last || got.Committed != l.applied {
			t.Errorf("the copy has %d of %d records, and is told that %d are committed; want %d", got.Last, l.last, got.Committed, l.applied)
		}
	})
}

// TestCatchingUpEnds lets users write without a pause, and much faster than a copy takes,
// which begins with nothing: it comes to count, however slow it is, and whatever breaks its
// stream. Users of a volume whose copy is faster than they hardly notice it.
func TestCatchingUpEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writer int64 // bytes a second
		copy   int64
		sync   time.Duration // that the copy takes for one
		breaks time.Duration // after which each stream breaks; 0: never
		least  float64       // of its rate that is left to the writer
		limit  time.Duration
		lacks  int64 // bytes of the log; 0: it begins with nothing
	}{
		{name: "a copy that was away for long", writer: 20 << 20, copy: 100 << 20, sync: time.Millisecond, least: 0.7, limit: time.Minute, lacks: raceSize + raceUsed - 8<<20},
		{name: "a copy that is faster", writer: 20 << 20, copy: 100 << 20, sync: time.Millisecond, least: 0.7, limit: time.Minute},
		{name: "a copy that is as fast", writer: 50 << 20, copy: 50 << 20, sync: 5 * time.Millisecond, limit: 5 * time.Minute},
		{name: "a slow copy", writer: 200 << 20, copy: 8 << 20, sync: 20 * time.Millisecond, limit: 5 * time.Minute},
		{name: "a very slow copy", writer: 200 << 20, copy: 3 << 20, sync: 100 * time.Millisecond, limit: 20 * time.Minute},
		{name: "a copy that syncs slowly", writer: 20 << 20, copy: 50 << 20, sync: time.Second, limit: 5 * time.Minute},
		{name: "a slow copy whose stream breaks", writer: 200 << 20, copy: 8 << 20, sync: 20 * time.Millisecond, breaks: 10 * time.Second, limit: 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &slowCopy{rate: tt.copy, sync: tt.sync, state: volume.FollowerState{ID: testID, Size: raceSize}}
				took, rate := catchUp(t, c, tt.writer, tt.breaks, tt.limit, tt.lacks)
				t.Logf("in sync after %v and %d fillings; the writer had %.2f of its rate", took, c.fills, rate)
				if rate < tt.least {
					t.Errorf("the writer had %.2f of its rate; want %.2f", rate, tt.least)
				}
			})
		})
	}
}

// catchUp returns how long a copy took to be in sync, and how much of its rate the writer
// had meanwhile.
func catchUp(t *testing.T, c *slowCopy, rate int64, breaks, limit time.Duration, lacks int64) (took time.Duration, left float64) {
	record := newRecord("n1", "n2")
	l := &fastLog{epoch: 1, first: 1, spared: lacks > 0}
	for l.last < 8*raceChunks*ballast.ChunkSize/raceRecord {
		l.append() // what the copy missed
	}
	if lacks > 0 {
		at := l.last - ballast.LSN(lacks/raceRecord)
		c.state.Last, c.state.Durable, c.state.Applied, c.state.Complete, c.state.Lineage = at, at, at, true, l.Lineage()
	}
	hub, end := race(t, c, l, record, breaks)
	defer end()
	began, written := time.Now(), int64(0)
	for len(record.members().InSync) < 2 {
		if took = time.Since(began); took > limit {
			t.Errorf("after %v, %d fillings and %d MiB written the copy is not in sync: %+v", took, c.fills, written>>20, hub.Status())
			break
		}
		writeOnce(t, hub, l, rate)
		written += raceRecord
	}
	took = time.Since(began)
	return took, float64(written) / (float64(rate) * took.Seconds())
}

// race begins to stream a log to a copy on n2, until end.
func race(t *testing.T, c *slowCopy, l *fastLog, record *record, breaks time.Duration) (hub *stream.Hub, end func()) {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("BALLAST_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	m := record.claim("n1")
	r := receiver.New(receiver.Config{
		Node: "n2", Cluster: "c", Log: log, Allow: record.allow,
		Open: func(context.Context, ballast.VolumeID, int64) (receiver.Copy, error) { return c, nil },
	})
	dial := func(ctx context.Context, p replica.Peer) (net.Conn, error) {
		if p.Node != "n2" {
			return nil, errors.New("no route to host")
		}
		here, there := net.Pipe()
		if breaks > 0 {
			time.AfterFunc(breaks, func() { _ = here.Close() })
		}
		go func() { _ = r.Serve(context.WithoutCancel(ctx), there, "n1") }() // however it ends, the hub tries again
		return here, nil
	}
	hub = stream.New(stream.Config{Node: "n1", Cluster: "c", Members: m, Dial: dial, Control: record, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) }) // it ends with ctx
	running.Go(func() {
		if err := hub.Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	return hub, func() { cancel(); running.Wait() }
}

// writeOnce writes and flushes as a volume does.
func writeOnce(t *testing.T, hub *stream.Hub, l *fastLog, rate int64) {
	hub.Ship(l.append())
	last, _, _ := l.Position()
	hub.Flush(last)
	pass(time.Duration(raceRecord * int64(time.Second) / rate))
	hub.Durable(last)
	if err := hub.Committed(last); err != nil && !errors.Is(err, stream.ErrEnded) {
		t.Error(err)
	}
}

// pass lets time pass in a bubble, where it takes none.
func pass(d time.Duration) { <-time.After(d) }
