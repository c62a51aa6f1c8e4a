package verify

import (
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	rec := func(name string, class ballast.Class, epoch ballast.Epoch) archiver.Volume {
		return archiver.Volume{ID: ballast.VolumeID(name), Name: name, Epoch: epoch, Spec: ballast.VolumeSpec{Class: class}}
	}
	all := []archiver.Volume{
		rec("a", ballast.Primary, 1), rec("b", ballast.Primary, 1), rec("never-used", ballast.Primary, 0), rec("cache", ballast.Cache, 1),
	}
	for _, tt := range []struct {
		name string
		done map[ballast.VolumeID]Result
		want string // "": none
	}{
		{"none was tested", nil, "a"},
		{"one was not", map[ballast.VolumeID]Result{"a": {At: now}}, "b"},
		{"the longest ago", map[ballast.VolumeID]Result{"a": {At: now.Add(-25 * time.Hour)}, "b": {At: now.Add(-26 * time.Hour)}}, "b"},
		{"all were", map[ballast.VolumeID]Result{"a": {At: now}, "b": {At: now.Add(-time.Hour)}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := due(all, tt.done, 24*time.Hour, now); got.Name != tt.want || ok != (tt.want != "") {
				t.Errorf("due: %q, %t; want %q", got.Name, ok, tt.want)
			}
		})
	}
}
