package sim

import (
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// simulate runs one seed, and returns what was wrong.
func simulate(seed uint64, tracing bool) *world {
	w := newWorld(seed)
	w.tracing = tracing
	w.say("all", "%+v", w.settings)
	w.after(w.between(0, w.lease), w.trouble)
	w.run(w.faults, nil)
	w.calmDown()
	begun := w.count.Acks
	patient := w.now + 8*w.lease + 60*w.patience + 2*time.Second
	w.run(patient, func() bool {
		w.checker.quiet = w.count.Acks > begun+20
		return w.checker.quiet && w.checker.settled()
	})
	switch {
	case w.failure != nil:
	case w.checker.beyond():
		w.count.Beyond++
	case !w.checker.settled():
		w.fail("nothing goes wrong any more, and %d flushes later not every copy is in sync: %v of %s, in sync %v, copies %v", w.count.Acks-begun, w.etcd.record.Epoch, w.etcd.record.Primary, w.etcd.record.InSync, w.etcd.record.Copies)
	default:
		w.checker.identical()
	}
	return w
}

// TestSimulation runs as many seeds as there is time for: 200,000 in the test run.
func TestSimulation(t *testing.T) {
	if s := os.Getenv("BALLAST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w := simulate(seed, true)
		t.Log(w.trace.String())
		if w.failure != nil {
			t.Errorf("seed %d: %v", seed, w.failure)
		}
		return
	}
	seeds := uint64(200_000)
	switch {
	case raceEnabled:
		seeds = 1_000
	case testing.Short():
		seeds = 20_000
	}
	total, ran := runSeeds(t, seeds)
	t.Logf("%d seeds: %+v", ran, total)
	if !t.Failed() {
		checkCoverage(t, total, int(ran))
	}
}

func runSeeds(t *testing.T, seeds uint64) (counters, uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(2000)) // a world is small, and soon over
	var next, ran atomic.Uint64
	var mu sync.Mutex
	var total counters
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() {
				seed := next.Add(1)
				if seed > seeds {
					return
				}
				w := simulate(seed, false)
				ran.Add(1)
				mu.Lock()
				total.add(w.count)
				if w.failure != nil {
					t.Errorf("seed %d: %v\nits story: BALLAST_SEED=%d go test -v -run TestSimulation ./internal/replica/sim", seed, w.failure, seed)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, ran.Load()
}

func (c *counters) add(o counters) {
	sum, more := reflect.ValueOf(c).Elem(), reflect.ValueOf(o)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + more.Field(i).Int())
	}
}

// checkCoverage: everything happened, and writers were answered while things went wrong.
func checkCoverage(t *testing.T, c counters, seeds int) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).Int() == 0 && seeds >= rare[name] {
			t.Errorf("in %d seeds there was not one of %s", seeds, name)
		}
	}
	if perSeed := float64(c.FaultAcks) / float64(seeds); perSeed < minAcks {
		t.Errorf("%.1f flushes were answered per seed while things went wrong; want %d", perSeed, minAcks)
	}
}

// rare is what few seeds have: in how many there is one for sure.
var rare = map[string]int{"Forced": 20_000, "ForcedAgain": 200_000, "SetAside": 200_000, "BackToSetAside": 200_000, "Beyond": 20_000, "Resumed": 5_000}

// minAcks is how many flushes are answered per seed at least, while things go wrong.
const minAcks = 50

// The same seed is the same story.
func TestSeedRepeats(t *testing.T) {
	for seed := range uint64(20) {
		a, b := simulate(seed, true), simulate(seed, true)
		if a.trace.String() != b.trace.String() {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
