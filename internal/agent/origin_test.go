package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

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
