package agent

import (
	"strings"
	"testing"
)

func TestArchivesTitle(t *testing.T) {
	for _, tt := range []struct {
		name           string
		own            string
		without, other []string
		says           string // empty: nothing
	}{
		{"all have one", "a1", nil, nil, ""},
		{"none has one", noArchive, []string{"n1", "n2", "n3"}, nil, ""},
		{"one has none", "a1", []string{"n3"}, nil, "archive nothing: n3."},
		{"this one has none", noArchive, []string{"n1"}, []string{"n2", "n3"}, "This node archives nothing, and n2, n3 do"},
		{"one has another", "a1", nil, []string{"n2"}, "n2 have another one than n1. The history of a volume begins anew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := archivesTitle("n1", tt.own, tt.without, tt.other, 3); !strings.Contains(got, tt.says) || (got == "") != (tt.says == "") {
				t.Errorf("said %q; want %q", got, tt.says)
			}
		})
	}
}
