package cluster

import (
	"errors"
	"testing"

	"github.com/ballast-io/ballast"
)

func adoptable(change func(*Record)) Record {
	return sample(func(r *Record) {
		r.Epoch, r.Formatted = 7, true
		r.Origin = &Origin{Volume: "bbbbbbbbbbbbbbbbbbbbbbbbbb", Name: "old", LSN: 5, Epoch: 2}
		if change != nil {
			change(r)
		}
	})
}

func TestAdopt(t *testing.T) {
	r, _ := node(t, t.TempDir())
	ctx := t.Context()
	want := adoptable(nil)
	if _, err := r.Adopt(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, err := r.Get("db")
	if err != nil || got.ID != want.ID || got.Epoch != 7 || !got.Formatted || got.Origin.String() != want.Origin.String() {
		t.Errorf("adopted %+v, %v; want %+v", got, err, want)
	}
	if got, err := r.Claim(ctx, want.ID, ClaimRequest{}); err != nil || got.Epoch != 8 {
		t.Errorf("claimed with epoch %d, %v; want one above the adopted one", got.Epoch, err)
	}
	for _, tt := range []struct {
		name string
		in   Record
		want error
	}{
		{"the same id", adoptable(func(r *Record) { r.Name = "other" }), ballast.ErrExists},
		{"the same name", adoptable(func(r *Record) { r.ID = NewVolumeID() }), ballast.ErrExists},
		{"held", adoptable(func(r *Record) { r.ID, r.Name, r.Primary = NewVolumeID(), "x", "n2" }), ballast.ErrInvalid},
		{"an id that is a path", adoptable(func(r *Record) { r.ID, r.Name = "../../etc", "x" }), ballast.ErrInvalid},
		{"a name that is a path", adoptable(func(r *Record) { r.ID, r.Name = NewVolumeID(), "../x" }), ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := r.Adopt(ctx, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("Adopt = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	r, stop := node(t, t.TempDir())
	ctx := t.Context()
	old, err := r.Create(ctx, "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	made := adoptable(func(r *Record) { r.ID, r.Name = NewVolumeID(), "ignored" })
	if _, err := r.Claim(ctx, old.ID, ClaimRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Replace(ctx, old.ID, made); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("replaced a volume that is held: %v; want in use", err)
	}
	if _, err := r.Release(ctx, old.ID, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Replace(ctx, old.ID, made); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Get("db"); err != nil || got.ID != made.ID {
		t.Errorf("db is %s, %v; want the new one %s", got.ID, err, made.ID)
	}
	if trash := r.Trash(); len(trash) != 1 || trash[0].ID != old.ID {
		t.Errorf("in the trash: %v; want the old one", trash)
	}
	if _, err := r.Restore(ctx, string(old.ID), "db-before"); err != nil {
		t.Errorf("take the old one back: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
