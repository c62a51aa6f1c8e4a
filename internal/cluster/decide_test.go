package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

func sample(change func(*Record)) Record {
	r := Record{
		ID: "abcdefghijklmnopqrstuvwxyz", Name: "db", Spec: ballast.DefaultVolumeSpec(),
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestDecisions(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	only1 := []ballast.NodeID{"n1"}
	held := sample(func(r *Record) { r.Primary, r.Epoch = "n2", 4 })
	mine := sample(func(r *Record) { r.Primary, r.Epoch = "n1", 4 })
	trashed := sample(func(r *Record) { r.RemovedAt = now })
	purging := sample(func(r *Record) { r.RemovedAt, r.Purging = now, true })
	claim := func(floor ballast.Epoch) func(Record) (Record, error) {
		return func(r Record) (Record, error) { return DecideClaim(r, "n1", ClaimRequest{Floor: floor}) }
	}
	for _, tt := range []struct {
		name   string
		decide func(Record) (Record, error)
		in     Record
		want   func(*Record) // nil: refused with err
		err    error
	}{
		{"remove", func(r Record) (Record, error) { return decideRemove(r, now) }, sample(nil), func(r *Record) { r.RemovedAt = now }, nil},
		{"remove what is held", func(r Record) (Record, error) { return decideRemove(r, now) }, held, nil, ballast.ErrInUse},
		{"remove twice", func(r Record) (Record, error) { return decideRemove(r, now) }, trashed, nil, ballast.ErrNotFound},
		{"restore", func(r Record) (Record, error) { return decideRestore(r, "") }, trashed, func(r *Record) { r.RemovedAt = time.Time{} }, nil},
		{"restore under a bad name", func(r Record) (Record, error) { return decideRestore(r, "a/b") }, trashed, nil, ballast.ErrInvalid},
		{"restore what is not removed", func(r Record) (Record, error) { return decideRestore(r, "") }, sample(nil), nil, ballast.ErrNotFound},
		{"restore what is being purged", func(r Record) (Record, error) { return decideRestore(r, "") }, purging, nil, ballast.ErrNotFound},
		{"claim", claim(0), sample(nil), func(r *Record) { r.Epoch, r.Primary, r.InSync, r.Copies = 1, "n1", only1, only1 }, nil},
		{"claim again", claim(0), mine, func(r *Record) { r.Epoch, r.InSync, r.Copies = 5, only1, only1 }, nil},
		{"claim above the files' epoch", claim(9), mine, func(r *Record) { r.Epoch, r.InSync, r.Copies = 10, only1, only1 }, nil},
		{"claim from another node", claim(0), held, nil, ballast.ErrInUse},
		{"claim from the trash", claim(0), trashed, nil, ballast.ErrNotFound},
		{"release", func(r Record) (Record, error) { return DecideRelease(r, "n1", 4) }, mine, func(r *Record) { r.Primary = "" }, nil},
		{"release late", func(r Record) (Record, error) { return DecideRelease(r, "n1", 3) }, mine, nil, ErrUnchanged},
		{"release another's", func(r Record) (Record, error) { return DecideRelease(r, "n1", 4) }, held, nil, ErrUnchanged},
		{"formatted", func(r Record) (Record, error) { return decideFormatted(r, "n1", 4) }, mine, func(r *Record) { r.Formatted = true }, nil},
		{"formatted under an old epoch", func(r Record) (Record, error) { return decideFormatted(r, "n1", 3) }, mine, nil, ballast.ErrInUse},
		{"grow", func(r Record) (Record, error) { return decideResize(r, 20<<30) }, sample(nil), func(r *Record) { r.Spec.Size = 20 << 30 }, nil},
		{"shrink", func(r Record) (Record, error) { return decideResize(r, 1<<30) }, sample(nil), nil, ballast.ErrInvalid},
		{"grow to the same", func(r Record) (Record, error) { return decideResize(r, 10<<30) }, sample(nil), nil, ErrUnchanged},
		{"grow too far", func(r Record) (Record, error) { return decideResize(r, 1<<50) }, sample(nil), nil, ballast.ErrInvalid},
		{"purge", decidePurge, trashed, func(r *Record) { r.Purging = true }, nil},
		{"mark", func(r Record) (Record, error) { return decideMarked(r, true) }, trashed, func(r *Record) { r.Marked = true }, nil},
		{"take a mark back that is not there", func(r Record) (Record, error) { return decideMarked(r, false) }, sample(nil), nil, ErrUnchanged},
		{"purge what is not removed", decidePurge, sample(nil), nil, ballast.ErrInUse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.decide(tt.in)
			if tt.want == nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("error = %v; want %v", err, tt.err)
				}
				return
			}
			want := tt.in
			tt.want(&want)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestAcceptExisting(t *testing.T) {
	grown := sample(func(r *Record) { r.Spec.Size = 40 << 30 })
	for _, tt := range []struct {
		name    string
		in      Record
		options map[string]string
		want    error
	}{
		{"nothing asked", sample(nil), nil, nil},
		{"as it is", sample(nil), map[string]string{"size": "10G", "fs": "ext4"}, nil},
		{"grown since", grown, map[string]string{"size": "10G"}, nil},
		{"larger than it is", sample(nil), map[string]string{"size": "20G"}, ballast.ErrExists},
		{"other filesystem", sample(nil), map[string]string{"fs": "xfs"}, ballast.ErrExists},
		{"other label", sample(nil), map[string]string{"label.a": "b"}, ballast.ErrExists},
		{"malformed", sample(nil), map[string]string{"size": "x"}, ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := acceptExisting(tt.in, tt.options); !errors.Is(err, tt.want) {
				t.Errorf("acceptExisting = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestPickFromTrash(t *testing.T) {
	other := sample(func(r *Record) { r.ID = "bbbbbbbbbbbbbbbbbbbbbbbbbb" })
	purging := sample(func(r *Record) { r.ID, r.Purging = "cccccccccccccccccccccccccc", true })
	for _, tt := range []struct {
		name  string
		trash []Record
		ask   string
		want  ballast.VolumeID
		err   error
	}{
		{"the only one", []Record{sample(nil), purging}, "db", sample(nil).ID, nil},
		{"one of two", []Record{sample(nil), other}, "db", "", ballast.ErrInvalid},
		{"by id", []Record{sample(nil), other}, string(other.ID), other.ID, nil},
		{"none", nil, "db", "", ballast.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := pickFromTrash(tt.trash, tt.ask)
			if got.ID != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("picked %q, %v; want %q, %v", got.ID, err, tt.want, tt.err)
			}
		})
	}
}

// C7: what a later release adds to a record is still there after this one has
// changed it.
func TestLaterFieldsAreKept(t *testing.T) {
	data, err := encodeRecord(sample(nil))
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), "{", `{"archive":{"url":"s3://x"},`, 1))
	r, err := decodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	r.Epoch = 7
	if data, err = encodeRecord(r); err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	if got := string(fields["archive"]); got != `{"url":"s3://x"}` || string(fields["epoch"]) != "7" {
		t.Errorf("stored %s; want the later field and the new epoch", data)
	}
}

// The record of every format that was ever written stays readable.
func TestGoldenRecord(t *testing.T) {
	const v1 = `{"version":1,"id":"abcdefghijklmnopqrstuvwxyz","name":"db","spec":{"size":10737418240,"fs":"ext4","class":"primary","uid":0,"gid":0,"mode":493},"created_at":"2026-01-02T03:04:05Z","epoch":0}`
	got, err := decodeRecord([]byte(v1))
	if err != nil || !reflect.DeepEqual(got, sample(nil)) {
		t.Errorf("decoded %+v, %v; want %+v", got, err, sample(nil))
	}
	if data, err := encodeRecord(sample(nil)); err != nil || string(data) != v1 {
		t.Errorf("encoded %s, %v; want %s", data, err, v1)
	}
	if _, err := decodeRecord([]byte(strings.Replace(v1, `"version":1`, `"version":2`, 1))); err == nil || !strings.Contains(err.Error(), "upgrade this node") {
		t.Errorf("a later format: %v; want to be told to upgrade", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	data, err := encodeRecord(sample(func(r *Record) { r.Primary, r.InSync = "n1", []ballast.NodeID{"n1"} }))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"ID":"../../../../../../etc/passwd","name":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if !isVolumeID(string(r.ID)) || ballast.CheckVolumeName(r.Name) != nil || r.Spec.Check() != nil {
			t.Errorf("accepted %+v", r)
		}
		again, err := encodeRecord(r)
		if err != nil {
			t.Fatalf("%+v cannot be encoded: %v", r, err)
		}
		if b, err := decodeRecord(again); err != nil || b.ID != r.ID || b.Epoch != r.Epoch || !b.Spec.Equal(r.Spec) {
			t.Errorf("%+v reads back as %+v, %v", r, b, err)
		}
	})
}

func FuzzDecodeView(f *testing.F) {
	v := newView()
	v.put(sample(nil), 1)
	data, err := v.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"records":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := decodeView(data)
		if err != nil {
			return
		}
		for _, r := range all.records {
			if r.check() != nil {
				t.Errorf("accepted %+v", r)
			}
		}
	})
}

// memoryKeys is a keyspace in memory that lets others come first.
type memoryKeys struct {
	mu     sync.Mutex
	rev    int64
	items  map[string]item
	before func() // called before a swap, once
}

func (m *memoryKeys) list(_ context.Context, prefix string) ([]item, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []item
	for _, key := range slices.Sorted(maps.Keys(m.items)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, m.items[key])
		}
	}
	return all, m.rev, nil
}

func (m *memoryKeys) get(_ context.Context, key string) (item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it, ok := m.items[key]; ok {
		return it, nil
	}
	return item{key: key}, nil
}

func (m *memoryKeys) swap(_ context.Context, conditions, changes []item) (bool, int64, error) {
	if before := m.before; before != nil {
		m.before = nil
		before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range conditions {
		if m.items[c.key].rev != c.rev {
			return false, m.rev, nil
		}
	}
	m.rev++
	for _, c := range changes {
		if c.value == nil {
			delete(m.items, c.key)
		} else {
			m.items[c.key] = item{c.key, c.value, m.rev}
		}
	}
	return true, m.rev, nil
}

func (m *memoryKeys) lend(ctx context.Context, it item, _ time.Duration) (bool, error) {
	ok, _, err := m.swap(ctx, []item{{key: it.key}}, []item{it})
	return ok, err
}

func (m *memoryKeys) watch(ctx context.Context, _ string, _ int64, _ func(item)) error {
	<-ctx.Done()
	return ctx.Err()
}

func onKeys(m *memoryKeys, node ballast.NodeID) *Records {
	r := newRecords(Config{Node: node, Log: slog.New(slog.DiscardHandler)})
	r.view.replace(nil, 0, true)
	r.setKeys(m, nil)
	return r
}

// C1: another change comes first; the decision is made again on what is there.
func TestConflictIsDecidedAgain(t *testing.T) {
	m := &memoryKeys{items: map[string]item{}}
	a, b := onKeys(m, "n1"), onKeys(m, "n2")
	made, err := a.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.before = func() {
		if _, err := b.Resize(t.Context(), made.ID, 20<<30); err != nil {
			t.Error(err)
		}
	}
	got, err := a.Claim(t.Context(), made.ID, ClaimRequest{})
	if err != nil || got.Spec.Size != 20<<30 || got.Primary != "n1" {
		t.Errorf("claim = %+v, %v; want both changes", got, err)
	}
	m.before = func() {
		if _, err := b.Create(t.Context(), "new", map[string]string{"fs": "xfs"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Create(t.Context(), "new", nil); err != nil {
		t.Errorf("create after another: %v; want what the other made", err)
	}
	if got, err := a.Get("new"); err != nil || got.Spec.FS != ballast.XFS {
		t.Errorf("the view shows %+v, %v; want what the other made", got, err)
	}
}

// Of many claims at once one wins (C1), and no epoch is given twice (C3).
func TestOneClaimWins(t *testing.T) {
	m := &memoryKeys{items: map[string]item{}}
	made, err := onKeys(m, "n0").Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wins sync.Map
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			got, err := onKeys(m, ballast.NodeID(fmt.Sprint("n", i))).Claim(t.Context(), made.ID, ClaimRequest{})
			if err == nil {
				wins.Store(got.Primary, got.Epoch)
			} else if !errors.Is(err, ballast.ErrInUse) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count := 0
	wins.Range(func(_, epoch any) bool {
		count++
		if epoch != ballast.Epoch(1) {
			t.Errorf("epoch %v; want 1", epoch)
		}
		return true
	})
	if count != 1 {
		t.Errorf("%d nodes won; want 1", count)
	}
}

func TestViewIgnoresWhatIsOlder(t *testing.T) {
	v := newView()
	v.replace(nil, 0, true)
	v.put(sample(func(r *Record) { r.Epoch = 2 }), 20)
	v.put(sample(func(r *Record) { r.Epoch = 1 }), 10)
	if got, err := v.byName("db"); err != nil || got.Epoch != 2 {
		t.Errorf("epoch %d, %v; want the later one", got.Epoch, err)
	}
	v.purge(sample(nil).ID)
	v.put(sample(nil), 15)
	v.replace([]versioned{{sample(nil), 15}}, 15, true)
	if _, err := v.byName("db"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("a purged volume is back: %v", err)
	}
}
