package main

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func TestDrainProgress(t *testing.T) {
	copying := func(done, total uint64) *ballastv1.DrainStep {
		return &ballastv1.DrainStep{Doing: "copying to n3", Progress: &ballastv1.Progress{Step: "copying to n3", Unit: "bytes", DoneBytes: done, TotalBytes: total}}
	}
	waits := &ballastv1.DrainStep{Doing: "attached, and held by cli"}
	for _, tt := range []struct {
		name  string
		steps []*ballastv1.DrainStep
		want  *ballastv1.Progress
	}{
		{"nothing is left", nil, nil},
		{"nothing is copied", []*ballastv1.DrainStep{waits}, nil},
		{"one is", []*ballastv1.DrainStep{waits, copying(1, 4)}, &ballastv1.Progress{Step: "copying 1 volume", Unit: "bytes", DoneBytes: 1, TotalBytes: 4}},
		{"two are", []*ballastv1.DrainStep{copying(1, 4), waits, copying(5, 6)}, &ballastv1.Progress{Step: "copying 2 volumes", Unit: "bytes", DoneBytes: 6, TotalBytes: 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := drainProgress(tt.steps); !proto.Equal(got, tt.want) {
				t.Errorf("progress = %v; want %v", got, tt.want)
			}
		})
	}
}
