package cluster

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

func nodes(names ...ballast.NodeID) []ballast.NodeID { return names }

// attached is a volume on n1 under e4 with copies on n1, n2 and n3, of which those
// are in sync.
func attached(inSync []ballast.NodeID, change func(*Record)) Record {
	return sample(func(r *Record) {
		r.Primary, r.Epoch, r.Formatted = "n1", 4, true
		r.InSync, r.Copies = inSync, nodes("n1", "n2", "n3")
		if change != nil {
			change(r)
		}
	})
}

func released(r *Record) { r.Primary = "" }

// The decisions of a claim: C3, C8, C9.
func TestDecideClaim(t *testing.T) {
	atLeast2 := func(r *Record) { r.Spec.Replicas, r.Spec.MinCopies = 3, 2 }
	cache := func(r *Record) { r.Spec.Class = ballast.Cache }
	for _, tt := range []struct {
		name   string
		in     Record
		node   ballast.NodeID
		req    ClaimRequest
		inSync []ballast.NodeID // nil: refused with err
		err    error
	}{
		{"the first attach", sample(nil), "n2", ClaimRequest{}, nodes("n2"), nil},
		{"the holder again", attached(nodes("n1", "n2"), nil), "n1", ClaimRequest{}, nodes("n1", "n2"), nil},
		{"the holder again, another is gone", attached(nodes("n1", "n2"), nil), "n1", ClaimRequest{Over: nodes("n2")}, nodes("n1"), nil},
		{"its own session is over", attached(nodes("n1", "n2"), nil), "n1", ClaimRequest{Over: nodes("n1")}, nodes("n1", "n2"), nil},
		{"the holder is there", attached(nodes("n1", "n2"), nil), "n2", ClaimRequest{}, nil, ballast.ErrInUse},
		{"the holder is there, forced", attached(nodes("n1", "n2"), nil), "n2", ClaimRequest{Force: &Forced{}}, nil, ballast.ErrInUse},
		{"the holder is there, another is gone", attached(nodes("n1", "n2"), nil), "n2", ClaimRequest{Over: nodes("n3")}, nil, ballast.ErrInUse},
		{"the holder is gone", attached(nodes("n1", "n2"), nil), "n2", ClaimRequest{Over: nodes("n1")}, nodes("n2"), nil},
		{"the holder is gone, and two are left", attached(nodes("n1", "n2", "n3"), nil), "n2", ClaimRequest{Over: nodes("n1")}, nodes("n2", "n3"), nil},
		{"two are gone", attached(nodes("n1", "n2", "n3"), nil), "n2", ClaimRequest{Over: nodes("n1", "n3")}, nodes("n2"), nil},
		{"the holder is gone, and without it too few are left", attached(nodes("n1", "n2"), atLeast2), "n2", ClaimRequest{Over: nodes("n1")}, nodes("n1", "n2"), nil},
		{"the holder is gone, and enough are left", attached(nodes("n1", "n2", "n3"), atLeast2), "n2", ClaimRequest{Over: nodes("n1")}, nodes("n2", "n3"), nil},
		{"the holder is gone, this copy is not in sync", attached(nodes("n1", "n2"), nil), "n3", ClaimRequest{Over: nodes("n1")}, nil, ballast.ErrNoCopy},
		{"released", attached(nodes("n1", "n2"), released), "n2", ClaimRequest{}, nodes("n1", "n2"), nil},
		{"released, not in sync", attached(nodes("n1"), released), "n2", ClaimRequest{}, nil, ballast.ErrNoCopy},
		{"hollow, released", attached(nodes("n1", "n2"), released), "n4", ClaimRequest{Hollow: true}, nodes("n1", "n2"), nil},
		{"hollow, the holder is gone", attached(nodes("n1", "n2"), nil), "n4", ClaimRequest{Hollow: true, Over: nodes("n1")}, nodes("n2"), nil},
		{"hollow, all that count are gone", attached(nodes("n1", "n2"), nil), "n4", ClaimRequest{Hollow: true, Over: nodes("n1", "n2")}, nil, ballast.ErrNoCopy},
		{"hollow, its own copy counted and is lost", attached(nodes("n1", "n2"), nil), "n1", ClaimRequest{Hollow: true}, nodes("n2"), nil},
		{"hollow, its own copy was the last", attached(nodes("n1"), nil), "n1", ClaimRequest{Hollow: true}, nil, ballast.ErrNoCopy},
		{"hollow, a volume that never was", sample(nil), "n1", ClaimRequest{Hollow: true}, nil, ballast.ErrNoCopy},
		{"forced, what counts is gone", attached(nodes("n1"), nil), "n3", ClaimRequest{Force: &Forced{By: "root"}, Over: nodes("n1")}, nodes("n3"), nil},
		{"forced, what counts is unreadable", attached(nodes("n1", "n2"), released), "n3", ClaimRequest{Force: &Forced{By: "root"}}, nodes("n3"), nil},
		{"empty, a database", attached(nodes("n1"), nil), "n2", ClaimRequest{Empty: true, Over: nodes("n1")}, nil, ballast.ErrNoCopy},
		{"empty, a cache that is there", attached(nodes("n1"), func(r *Record) { cache(r); released(r) }), "n2", ClaimRequest{Empty: true}, nil, ballast.ErrInvalid},
		{"empty, a cache whose node is gone", attached(nodes("n1"), cache), "n2", ClaimRequest{Empty: true, Over: nodes("n1")}, nodes("n2"), nil},
		{"empty, scratch", attached(nodes("n1"), func(r *Record) { r.Spec.Class = ballast.Scratch; released(r) }), "n2", ClaimRequest{Empty: true}, nodes("n2"), nil},
		{"empty, scratch that is held", attached(nodes("n1"), func(r *Record) { r.Spec.Class = ballast.Scratch }), "n2", ClaimRequest{Empty: true}, nil, ballast.ErrInUse},
		{"from the trash", attached(nodes("n1"), func(r *Record) { r.RemovedAt = time.Unix(1, 0) }), "n1", ClaimRequest{}, nil, ballast.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.in
			before.InSync, before.Copies = slices.Clone(tt.in.InSync), slices.Clone(tt.in.Copies)
			got, err := DecideClaim(tt.in, tt.node, tt.req)
			if !reflect.DeepEqual(tt.in, before) {
				t.Errorf("the record was changed in place: %+v", tt.in)
			}
			if tt.inSync == nil {
				if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, before) {
					t.Errorf("got %+v, %v; want it as it was, and %v", got, err, tt.err)
				}
				return
			}
			if err != nil || got.Primary != tt.node || got.Epoch != before.Epoch+1 || !slices.Equal(got.InSync, tt.inSync) {
				t.Errorf("got %+v, %v; want %v in sync under the next epoch", got, err, tt.inSync)
			}
			for _, n := range withNodes(got.InSync, tt.node) {
				if !slices.Contains(got.Copies, n) {
					t.Errorf("copies %v lack %s", got.Copies, n)
				}
			}
			if got.Formatted != (before.Formatted && !tt.req.Empty) {
				t.Errorf("formatted = %t", got.Formatted)
			}
		})
	}
}

// What was forced is written down, and the list of it is bounded.
func TestForcedIsWrittenDown(t *testing.T) {
	r := attached(nodes("n1", "n2"), nil)
	var long volume.Lineage
	for i := range 65 {
		long = append(long, volume.Reign{Epoch: ballast.Epoch(i + 1), From: ballast.LSN(i + 1)})
	}
	for range maxForced + 3 {
		var err error
		if r, err = DecideClaim(r, "n3", ClaimRequest{Force: &Forced{By: "root", LSN: 17}, Stands: replica.State{Lineage: long, Last: 17}, Over: nodes("n1", "n2")}); err != nil {
			t.Fatal(err)
		}
	}
	if b := r.Branch; b.Epoch != r.Epoch || b.LSN != 17 || len(b.Lineage) != 64 || b.Lineage[0] == long[0] {
		t.Errorf("branch = %+v; want that of the latest", b)
	}
	if len(r.Forced) != maxForced || r.check() != nil {
		t.Errorf("%d were written down, %v; want the last %d", len(r.Forced), r.check(), maxForced)
	}
	first, err := DecideClaim(attached(nodes("n1", "n2"), nil), "n3", ClaimRequest{Floor: 9, Force: &Forced{By: "root", LSN: 17}, Over: nodes("n1", "n2")})
	want := Forced{By: "root", LSN: 17, Node: "n3", Was: 4, Epoch: 10, Left: nodes("n1", "n2")}
	if err != nil || len(first.Forced) != 1 || !reflect.DeepEqual(first.Forced[0], want) || first.Epoch != 10 {
		t.Errorf("written down: %+v, %v; want %+v", first.Forced, err, want)
	}
}

// The decisions of a leader (C9, R7).
func TestDecideChange(t *testing.T) {
	atLeast2 := func(r *Record) { r.Spec.Replicas, r.Spec.MinCopies = 3, 2 }
	for _, tt := range []struct {
		name   string
		in     Record
		change replica.Change
		inSync []ballast.NodeID // nil: refused with err
		err    error
	}{
		{"add", attached(nodes("n1"), nil), replica.Change{Epoch: 4, Add: "n2"}, nodes("n1", "n2"), nil},
		{"add the primary, which was hollow", attached(nodes("n2"), nil), replica.Change{Epoch: 4, Add: "n1"}, nodes("n2", "n1"), nil},
		{"add twice", attached(nodes("n1", "n2"), nil), replica.Change{Epoch: 4, Add: "n2"}, nil, ErrUnchanged},
		{"add what is no copy", attached(nodes("n1"), nil), replica.Change{Epoch: 4, Add: "n4"}, nil, ballast.ErrInvalid},
		{"add under an old epoch", attached(nodes("n1"), nil), replica.Change{Epoch: 3, Add: "n2"}, nil, ballast.ErrInUse},
		{"add after the release", attached(nodes("n1"), released), replica.Change{Epoch: 4, Add: "n2"}, nil, ballast.ErrInUse},
		{"remove", attached(nodes("n1", "n2"), nil), replica.Change{Epoch: 4, Remove: "n2"}, nodes("n1"), nil},
		{"remove twice", attached(nodes("n1"), nil), replica.Change{Epoch: 4, Remove: "n2"}, nil, ErrUnchanged},
		{"remove the last, of a hollow primary", attached(nodes("n2"), nil), replica.Change{Epoch: 4, Remove: "n2"}, nil, ballast.ErrTooFewCopies},
		{"remove the primary", attached(nodes("n1", "n2"), nil), replica.Change{Epoch: 4, Remove: "n1"}, nil, ballast.ErrInvalid},
		{"remove, and too few would be left", attached(nodes("n1", "n2"), atLeast2), replica.Change{Epoch: 4, Remove: "n2"}, nil, ballast.ErrTooFewCopies},
		{"remove, and enough are left", attached(nodes("n1", "n2", "n3"), atLeast2), replica.Change{Epoch: 4, Remove: "n2"}, nodes("n1", "n3"), nil},
		{"remove under an old epoch", attached(nodes("n1", "n2"), nil), replica.Change{Epoch: 3, Remove: "n2"}, nil, ballast.ErrInUse},
		{"decided on an earlier record", attached(nodes("n1"), func(r *Record) { r.Revision = 9 }), replica.Change{Epoch: 4, Revision: 8, Add: "n2"}, nil, ballast.ErrInUse},
		{"remove what has lost its disk, and too few are left", attached(nodes("n1", "n2"), atLeast2), replica.Change{Epoch: 4, Remove: "n2", Lost: true}, nodes("n1"), nil},
		{"remove the last, which has lost its disk", attached(nodes("n2"), nil), replica.Change{Epoch: 4, Remove: "n2", Lost: true}, nil, ballast.ErrTooFewCopies},
		{"nothing", attached(nodes("n1"), nil), replica.Change{Epoch: 4}, nil, ballast.ErrInvalid},
		{"both", attached(nodes("n1", "n2"), nil), replica.Change{Epoch: 4, Add: "n3", Remove: "n2"}, nil, ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecideChange(tt.in, tt.change, replica.Branch{})
			if tt.inSync == nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("got %+v, %v; want %v", got, err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got.InSync, tt.inSync) || got.Epoch != 4 || got.Primary != "n1" {
				t.Errorf("got %+v, %v; want %v in sync", got, err, tt.inSync)
			}
		})
	}
}

func TestDecideCopies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     Record
		change CopiesChange
		copies []ballast.NodeID // nil: refused with err
		inSync []ballast.NodeID
		err    error
	}{
		{"add", attached(nodes("n1"), nil), CopiesChange{Add: "n4"}, nodes("n1", "n2", "n3", "n4"), nodes("n1"), nil},
		{"add twice", attached(nodes("n1"), nil), CopiesChange{Add: "n2"}, nil, nil, ErrUnchanged},
		{"drop what does not count", attached(nodes("n1"), nil), CopiesChange{Drop: "n2"}, nodes("n1", "n3"), nodes("n1"), nil},
		{"drop what counts", attached(nodes("n1", "n2"), nil), CopiesChange{Drop: "n2"}, nodes("n1", "n3"), nodes("n1"), nil},
		{"drop the last that counts", attached(nodes("n2"), released), CopiesChange{Drop: "n2"}, nil, nil, ballast.ErrTooFewCopies},
		{"drop the holder's", attached(nodes("n1", "n2"), nil), CopiesChange{Drop: "n1"}, nil, nil, ballast.ErrInUse},
		{"drop who held it", attached(nodes("n1", "n2"), released), CopiesChange{Drop: "n1"}, nodes("n2", "n3"), nodes("n2"), nil},
		{"drop what is not there", attached(nodes("n1"), nil), CopiesChange{Drop: "n4"}, nil, nil, ErrUnchanged},
		{"nothing", attached(nodes("n1"), nil), CopiesChange{}, nil, nil, ballast.ErrInvalid},
		{"in the trash", attached(nodes("n1"), func(r *Record) { r.RemovedAt = time.Unix(1, 0) }), CopiesChange{Add: "n4"}, nil, nil, ballast.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecideCopies(tt.in, tt.change)
			if tt.copies == nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("got %+v, %v; want %v", got, err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got.Copies, tt.copies) || !slices.Equal(got.InSync, tt.inSync) {
				t.Errorf("got %+v, %v; want %v, of which %v in sync", got, err, tt.copies, tt.inSync)
			}
		})
	}
}

// A copy that is placed where an earlier one was is told from it.
func TestDecideCopiesTellsThemApart(t *testing.T) {
	r := attached(nodes("n1"), nil)
	var seen []int64
	for revision := range int64(3) {
		for _, c := range []CopiesChange{{Add: "n4"}, {Drop: "n4"}} {
			r.Revision++
			next, err := DecideCopies(r, c)
			if err != nil {
				t.Fatal(err)
			}
			if added, placed := next.Added["n4"]; placed != (c.Add != "") || placed && slices.Contains(seen, added) {
				t.Errorf("round %d, %+v: added %v; want it told from %v", revision, c, next.Added, seen)
			}
			r = next
		}
		seen = append(seen, r.Revision-1)
	}
}

// A record of before there were several copies.
func TestRecordWithoutCopies(t *testing.T) {
	got, err := decodeRecord([]byte(`{"version":1,"id":"abcdefghijklmnopqrstuvwxyz","name":"db","spec":{"size":10737418240,"fs":"ext4","class":"primary","uid":0,"gid":0,"mode":493},"created_at":"2026-01-02T03:04:05Z","epoch":3,"in_sync":["n1"]}`))
	if err != nil || !slices.Equal(got.Copies, nodes("n1")) {
		t.Errorf("copies %v, %v; want n1", got.Copies, err)
	}
}

// addOf is what the leader asks that has read a record.
func addOf(r Record, node ballast.NodeID) replica.Change {
	return replica.Change{Epoch: r.Epoch, Revision: r.Revision, Add: node}
}
