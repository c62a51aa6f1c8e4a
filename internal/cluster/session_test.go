package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

const lease = 5 * time.Second

func TestPulse(t *testing.T) {
	s := time.Second
	for _, tt := range []struct {
		name        string
		stored      storedSession
		last        uint64
		until       time.Duration
		asked       time.Duration
		heard       time.Duration
		good        bool
		number      uint64
		untilBefore time.Duration
	}{
		{"the first", storedSession{}, 0, 0, 10 * s, 10 * s, true, 1, 10*s + 4500*time.Millisecond},
		{"after another agent's, nothing remembered", storedSession{Number: 7}, 0, 0, 10 * s, 10 * s, true, 8, 10*s + 4500*time.Millisecond},
		{"after another agent's, in time", storedSession{Number: 7}, 7, 12 * s, 10 * s, 11 * s, true, 7, 10*s + 4500*time.Millisecond},
		{"after another agent's, too late", storedSession{Number: 7}, 7, 10 * s, 10 * s, 10 * s, true, 8, 10*s + 4500*time.Millisecond},
		{"after another agent's, of another number", storedSession{Number: 8}, 7, 12 * s, 10 * s, 10 * s, true, 9, 10*s + 4500*time.Millisecond},
		{"etcd lost it", storedSession{}, 7, 12 * s, 10 * s, 10 * s, true, 8, 10*s + 4500*time.Millisecond},
		{"heard after the end of what was promised", storedSession{Number: 7}, 7, 12 * s, 10 * s, 12 * s, false, 8, 0},
		{"heard too late to be of use", storedSession{}, 0, 0, 10 * s, 15 * s, false, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := resume(lease, tt.stored, tt.last, tt.until, tt.asked)
			p.write(tt.asked)
			if good := p.wrote(tt.asked, tt.heard); good != tt.good || p.number != tt.number || good && p.until != tt.untilBefore {
				t.Errorf("good %t, session %d until %s; want %t, %d until %s", good, p.number, p.until, tt.good, tt.number, tt.untilBefore)
			}
		})
	}
}

// seed returns the seed of a test, which BALLAST_SEED can set.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if asked := os.Getenv("BALLAST_SEED"); asked != "" {
		var err error
		if n, err = strconv.ParseUint(asked, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("BALLAST_SEED=%d", n)
	return n
}

// C8: of a holder and a watcher with clocks that run unevenly, and of writes and news
// that take their time, the watcher never claims what the holder takes for its own; and a
// session under which a claim was made is never good again.
func TestNobodyClaimsWhatIsHeld(t *testing.T) {
	start, claims, renewals := seed(t), 0, 0
	for run := range uint64(3000) {
		c, r, err := watchOneSession(rand.New(rand.NewPCG(start, run)))
		claims, renewals = claims+c, renewals+r
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
	}
	if claims < 1000 || renewals < 10000 {
		t.Errorf("%d claims and %d renewals: too little happened for this to mean anything", claims, renewals)
	}
}

// watchOneSession lets a holder and a watcher live for a while of true time, and
// counts claims and renewals.
func watchOneSession(random *rand.Rand) (claims, renewed int, _ error) {
	const tick = 50 * time.Millisecond
	between := func(low, high time.Duration) time.Duration {
		return low + time.Duration(random.Int64N(int64(high-low)+1))
	}
	fast := 0.95 + random.Float64()/10 // of the holder's clock; the watcher's is true
	holderClock := func(now time.Duration) time.Duration { return time.Hour + time.Duration(float64(now)*fast) }
	p := resume(lease, storedSession{}, 0, 0, holderClock(0))
	seen := newSessions(lease)
	var key item // what etcd has
	var next time.Duration
	claimed, told := map[uint64]bool{}, map[uint64]bool{}
	type write struct {
		asked          time.Duration // by the holder's clock
		applied, heard time.Duration
		rev            int64 // that it demands
		value          []byte
		done           bool
	}
	type news struct {
		at time.Duration
		it item
	}
	var pending *write
	var coming []news
	zero := time.Now()
	for now := time.Duration(0); now < 120*time.Second; now += tick {
		if pending == nil && now >= next {
			slow := between(0, 200*time.Millisecond)
			if random.IntN(8) == 0 {
				slow = between(0, 12*time.Second)
			}
			value, err := json.Marshal(p.write(holderClock(now)))
			if err != nil {
				return claims, renewed, err
			}
			pending = &write{asked: holderClock(now), applied: now + time.Duration(random.Int64N(int64(slow)+1)), heard: now + slow, rev: key.rev, value: value}
		}
		if w := pending; w != nil && !w.done && now >= w.applied {
			w.done = true
			if w.rev == key.rev {
				key = item{key: "s", value: w.value, rev: key.rev + 1}
				coming = append(coming, news{now + between(0, time.Second), key})
			}
		}
		if w := pending; w != nil && now >= w.heard {
			if p.wrote(w.asked, holderClock(now)) {
				renewed++
				told[p.number] = true
				if claimed[p.number] {
					return claims, renewed, fmt.Errorf("at %s session %d is good again, under which a claim was made", now, p.number)
				}
				next = now + lease/renewals
			}
			if random.IntN(20) == 0 { // the agent is stopped for a while
				next = now + between(0, 20*time.Second)
			}
			pending = nil
		}
		for len(coming) > 0 && now >= coming[0].at {
			seen.take("n1", coming[0].it.value, coming[0].it.rev, zero.Add(now))
			coming = coming[1:]
		}
		s, rev := seen.judge("n1", zero.Add(now))
		if s.Over && rev != 0 && rev == key.rev && !claimed[s.Number] {
			claims++
			// What was never said to be good, nothing is attached under.
			claimed[s.Number] = told[s.Number]
			if p.until != 0 && holderClock(now) < p.until && s.Number == p.number {
				return claims, renewed, fmt.Errorf("at %s session %d is claimed, which is good for another %s", now, s.Number, p.until-holderClock(now))
			}
		}
	}
	return claims, renewed, nil
}

// slowKeys is a keyspace that can be stopped.
type slowKeys struct {
	*memoryKeys
	mu   sync.Mutex // guards everything below
	away chan struct{}
}

func (s *slowKeys) swap(ctx context.Context, conditions, changes []item) (bool, int64, error) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away != nil {
		select {
		case <-away:
		case <-ctx.Done():
			return false, 0, fmt.Errorf("%w: %w", ctx.Err(), ballast.ErrUnknown)
		}
	}
	return s.memoryKeys.swap(ctx, conditions, changes)
}

func (s *slowKeys) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = make(chan struct{})
}

func (s *slowKeys) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.away)
	s.away = nil
}

// A session is renewed four times a lease; when etcd is away for less than it the
// session goes on, and else another one follows.
func TestKeepSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowKeys{memoryKeys: &memoryKeys{items: map[string]item{}}}
		r := onKeys(m.memoryKeys, "n1")
		r.setKeys(m, nil)
		begin := time.Now()
		boot := func() time.Duration { return time.Since(begin) + time.Hour }
		var mu sync.Mutex
		var told []uint64
		var until time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- r.KeepSession(ctx, SessionConfig{Lease: lease, Boot: boot, Disk: func() (int64, int64) { return 77, 42 }, OnRenewed: func(session uint64, u time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				told, until = append(told, session), u
			}})
		}()
		after := func(d time.Duration) []uint64 {
			time.Sleep(d) // virtual
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			out := told
			told = nil
			return out
		}
		if got := after(10*time.Second + time.Millisecond); len(got) != 9 || slices.Max(got) != 1 {
			t.Errorf("in two leases it was told of %v; want session 1 nine times", got)
		}
		if left := until - boot(); left < lease/2 || left > lease {
			t.Errorf("the session is good for another %s; want most of a lease", left)
		}
		m.stop()
		after(3 * time.Second)
		m.goOn()
		if got := after(time.Second); len(got) == 0 || slices.Max(got) != 1 {
			t.Errorf("after less than a lease it was told of %v; want session 1", got)
		}
		m.stop()
		if got := after(20 * time.Second); len(got) != 0 || until > boot() {
			t.Errorf("without etcd it was told of %v", got)
		}
		m.goOn()
		if got := after(time.Second); len(got) == 0 || slices.Min(got) != 2 {
			t.Errorf("after more than a lease it was told of %v; want session 2", got)
		}
		var stored storedSession
		if err := json.Unmarshal(m.items[sessionKey("n1")].value, &stored); err != nil || stored.Free != 42 || stored.Size != 77 || stored.Number != 2 {
			t.Errorf("stored %+v, %v", stored, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLeaseLimits(t *testing.T) {
	r := onKeys(&memoryKeys{items: map[string]item{}}, "n1")
	for _, l := range []time.Duration{time.Millisecond, time.Hour, -time.Second} {
		if err := r.KeepSession(t.Context(), SessionConfig{Lease: l}); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("a lease of %s: %v; want it refused", l, err)
		}
	}
}

// What a watcher thinks of sessions that come, stand still, go, or cannot be read.
func TestSessionsAsSeen(t *testing.T) {
	value := func(number, beat uint64) []byte {
		data, err := json.Marshal(storedSession{Number: number, Beat: beat, Lease: lease.Milliseconds()})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	zero := time.Now()
	at := func(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }
	v := newSessions(lease)
	over := func(node ballast.NodeID, s float64) bool { seen, _ := v.judge(node, at(s)); return seen.Over }
	if over("n1", 1000) {
		t.Error("a session is over of which nothing is known yet")
	}
	v.replace(map[ballast.NodeID]item{"n1": {rev: 5, value: value(1, 1)}, "later": {rev: 6, value: []byte(`{"number":"x"}`)}}, 10, at(0))
	for _, tt := range []struct {
		node ballast.NodeID
		at   float64
		want bool
	}{{"n1", 4.9, false}, {"n1", 5, true}, {"never", 4.9, false}, {"never", 5, true}, {"later", 1000, false}} {
		if got := over(tt.node, tt.at); got != tt.want {
			t.Errorf("%s after %v s: over = %t", tt.node, tt.at, got)
		}
	}
	v.replace(map[ballast.NodeID]item{"n1": {rev: 5, value: value(1, 1)}}, 12, at(4))
	if !over("n1", 5) {
		t.Error("reading the same again has prolonged the session")
	}
	v.take("n1", value(1, 2), 13, at(4))
	v.take("n1", value(1, 1), 5, at(6)) // old news
	if over("n1", 8.9) || !over("n1", 9) {
		t.Error("a renewal does not count from when it was seen")
	}
	if _, rev := v.judge("n1", at(5)); rev != 13 {
		t.Errorf("rests on revision %d; want 13", rev)
	}
	v.take("n1", nil, 14, at(10))
	if _, rev := v.judge("n1", at(10)); over("n1", 14.9) || !over("n1", 15) || rev != 0 {
		t.Error("a session that went is over a lease later, and not before")
	}
	v.replace(map[ballast.NodeID]item{}, 20, at(20))
	if !over("n1", 20) {
		t.Error("a session that went before has begun to count anew")
	}
}

// C8: a claim that rests on what its node saw fails when the holder was there since, also
// when the watch has not brought it yet.
func TestStaleObserverCannotClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryKeys{items: map[string]item{}}
		holder, watcher := onKeys(m, "n1"), onKeys(m, "n2")
		made, err := holder.Create(t.Context(), "db", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Claim(t.Context(), made.ID, ClaimRequest{}); err != nil {
			t.Fatal(err)
		}
		held, err := holder.SetCopies(t.Context(), made.ID, CopiesChange{Add: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		if held, err = holder.ChangeInSync(t.Context(), made.ID, addOf(held, "n2"), replica.Branch{}); err != nil {
			t.Fatal(err)
		}
		beat := func(n uint64) {
			data, err := json.Marshal(storedSession{Number: 1, Beat: n, Lease: lease.Milliseconds()})
			if err != nil {
				t.Fatal(err)
			}
			if ok, _, err := m.swap(t.Context(), nil, []item{{key: sessionKey("n1"), value: data}}); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		beat(1)
		if _, err := watcher.syncAll(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		_, err = watcher.Claim(t.Context(), made.ID, ClaimRequest{})
		var isHeld *HeldError
		if !errors.As(err, &isHeld) || isHeld.Node != "n1" || isHeld.Wait != lease || !errors.Is(err, ballast.ErrInUse) {
			t.Errorf("claim at once: %v; want to be told to wait for n1", err)
		}
		time.Sleep(lease) // virtual
		beat(2)           // which the watcher does not hear of
		if _, err := watcher.Claim(t.Context(), made.ID, ClaimRequest{}); !errors.Is(err, ballast.ErrInUse) {
			t.Errorf("claim of a stale observer: %v; want it refused", err)
		}
		waited := time.Now()
		if err := watcher.AwaitRelease(t.Context(), made.ID); err != nil || time.Since(waited) < lease-time.Second {
			t.Errorf("waited %s, %v; want a lease", time.Since(waited), err)
		}
		got, err := watcher.Claim(t.Context(), made.ID, ClaimRequest{})
		if err != nil || got.Primary != "n2" || got.Epoch != held.Epoch+1 || !slices.Equal(got.InSync, nodes("n2")) {
			t.Errorf("claim after a lease: %+v, %v; want n2 alone to count", got, err)
		}
		if _, err := holder.ChangeInSync(t.Context(), made.ID, addOf(held, "n2"), replica.Branch{}); !errors.Is(err, ballast.ErrInUse) {
			t.Errorf("the old leader changes the set: %v; want it refused", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := holder.Read(ctx, made.ID); err != nil {
			t.Fatal(err)
		}
		if err := holder.AwaitRelease(ctx, made.ID); !errors.As(err, &isHeld) || isHeld.Node != "n2" {
			t.Errorf("waiting for one who stays: %v; want it to be named", err)
		}
	})
}

func TestFeed(t *testing.T) {
	m := &memoryKeys{items: map[string]item{}}
	r := onKeys(m, "n1")
	feed := r.Follow()
	made, err := r.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resize(t.Context(), made.ID, 20<<30); err != nil {
		t.Fatal(err)
	}
	<-feed.Ready()
	if got := feed.Take(); !slices.Equal(got.Volumes, []ballast.VolumeID{made.ID}) || got.Nodes || got.All {
		t.Errorf("told of %+v; want the volume once", got)
	}
	if _, err := r.PutNode(t.Context(), Node{Name: "n1", Address: "a:1"}); err != nil {
		t.Fatal(err)
	}
	<-feed.Ready()
	if got := feed.Take(); len(got.Volumes) != 0 || !got.Nodes {
		t.Errorf("told of %+v; want the nodes", got)
	}
	feed.Close()
	if _, err := r.Resize(t.Context(), made.ID, 30<<30); err != nil {
		t.Fatal(err)
	}
	select {
	case <-feed.Ready():
		t.Error("told after the end")
	default:
	}
}

func FuzzDecodeSession(f *testing.F) {
	f.Add([]byte(`{"number":1,"beat":7,"lease_ms":5000,"free":1,"size":2,"archive":"none"}`))
	f.Add([]byte(`{"number":1,"lease_ms":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSession(data)
		lease := time.Duration(s.Lease) * time.Millisecond
		if err == nil && (s.Number == 0 || lease < MinLease || lease > MaxLease) {
			t.Errorf("accepted %+v: nobody could say when it is over", s)
		}
	})
}

func FuzzDecodeNode(f *testing.F) {
	good, err := encodeNode(Node{Name: "n1", Address: "10.0.0.1:7420", Generation: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"name":"../x","address":"h:1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := decodeNode(data)
		if err != nil {
			return
		}
		if ballast.CheckVolumeName(string(k.Name)) != nil {
			t.Errorf("accepted %+v", k)
		}
		if _, err := encodeNode(k); err != nil {
			t.Errorf("%+v cannot be encoded: %v", k, err)
		}
	})
}
