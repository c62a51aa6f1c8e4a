package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ballast-io/ballast"
)

// What a node that lost the others makes of the records that it knew.
func TestDecideRebuilt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record Record
		here   CopyHere
		fate   Fate
		inSync []ballast.NodeID
		copies []ballast.NodeID
		epoch  ballast.Epoch
	}{
		{"in sync here and there", attached(nodes("n1", "n2"), nil), CopyHere{7, true}, FateKept, nodes("n2"), nodes("n2"), 7 + EpochLeap},
		{"in sync here alone", attached(nodes("n2"), nil), CopyHere{2, true}, FateKept, nodes("n2"), nodes("n2"), 4 + EpochLeap},
		{"its files saw a later epoch than the record", attached(nodes("n1", "n2"), nil), CopyHere{900, true}, FateKept, nodes("n2"), nodes("n2"), 900 + EpochLeap},
		{"a copy that does not count", attached(nodes("n1"), nil), CopyHere{4, true}, FateStale, nodes("n1"), nodes("n1", "n2"), 4 + EpochLeap},
		{"no copy here", attached(nodes("n1"), nil), CopyHere{}, FateGone, nodes("n1"), nodes("n1"), 4 + EpochLeap},
		{"a copy that should count, and is not whole", attached(nodes("n1", "n2"), nil), CopyHere{4, false}, FateGone, nodes("n1"), nodes("n1"), 4 + EpochLeap},
		{"the only one that counts is damaged", attached(nodes("n2"), nil), CopyHere{4, false}, FateGone, nodes("n2"), nodes("n2"), 4 + EpochLeap},
		{"never attached", sample(func(r *Record) { r.Epoch = 0 }), CopyHere{}, FateEmpty, nil, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.record.Added = map[ballast.NodeID]int64{"n2": 3}
			got, fate := DecideRebuilt(tt.record, "n2", tt.here)
			if fate != tt.fate || !slices.Equal(got.InSync, tt.inSync) || !slices.Equal(got.Copies, tt.copies) || got.Epoch != tt.epoch {
				t.Errorf("fate %d, in sync %v, copies %v, epoch %d; want %d, %v, %v, %d", fate, got.InSync, got.Copies, got.Epoch, tt.fate, tt.inSync, tt.copies, tt.epoch)
			}
			if got.Primary != "" || got.Added != nil || got.Revision != 0 {
				t.Errorf("it is still %+v", got)
			}
			if fate == FateKept {
				return
			}
			// Nobody attaches what may lack something without an operator's word.
			if _, err := DecideClaim(got, "n2", ClaimRequest{Over: nodes("n1")}); err == nil && fate == FateStale {
				t.Error("what is stale can be claimed")
			}
		})
	}
}

// All that was rebuilt is what the cluster begins with, fields of a later release included.
func TestRestore(t *testing.T) {
	made := sample(func(r *Record) { r.Name, r.Epoch, r.Primary = "db", 7, "" })
	made.later = map[string]json.RawMessage{"shade": json.RawMessage(`"blue"`)}
	removed := sample(func(r *Record) { r.ID, r.RemovedAt = NewVolumeID(), time.Now().UTC() })
	b := Rebuilt{
		Node:      Node{Name: "n2", Address: "127.0.0.1:7420", Generation: 9},
		Authority: []byte("authority"), Records: []Record{made, removed},
	}
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var read Rebuilt
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Restore(t.Context(), filepath.Join(dir, "records"), read, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r, stop := node(t, dir)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the records", func() error { _, err := r.Read(t.Context(), made.ID); return err })
	got, err := r.Get("db")
	if err != nil || got.ID != made.ID || string(got.later["shade"]) != `"blue"` {
		t.Errorf("db is %+v, %v", got, err)
	}
	if trash := r.Trash(); len(trash) != 1 || trash[0].ID != removed.ID {
		t.Errorf("in the trash: %+v", trash)
	}
	if a, err := r.Authority(t.Context()); string(a) != "authority" || err != nil {
		t.Errorf("authority %q, %v", a, err)
	}
	if diff := cmp.Diff(uint64(9), r.Nodes()[0].Generation); diff != "" {
		t.Error(diff)
	}
	// No generation that was given before is given again (C11).
	if n, err := r.PutNode(t.Context(), Node{Name: "n3", Address: "127.0.0.1:1"}); err != nil || n.Generation != 10 {
		t.Errorf("the next node has generation %d, %v; want 10", n.Generation, err)
	}
}

// Records that were given up change nothing any more, and say why.
func TestGivenUp(t *testing.T) {
	r, stop := node(t, t.TempDir())
	made, err := r.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("node n2 went on without this one")
	r.GiveUp(why)
	eventually(t, "they end", func() error {
		if _, got := r.Ready(); !errors.Is(got, why) {
			return errors.New("they go on")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Claim(ctx, made.ID, ClaimRequest{}); !errors.Is(err, why) {
		t.Errorf("claim = %v; want why not", err)
	}
	if _, err := r.Get("db"); err != nil {
		t.Errorf("what was known is known (C5): %v", err)
	}
	if err := stop(); err != nil && !errors.Is(err, why) {
		t.Error(err)
	}
}
