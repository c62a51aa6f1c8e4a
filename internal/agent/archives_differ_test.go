package agent

import (
	"strings"
	"testing"
	"time"
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
		{"this one has none", noArchive, []string{"n1"}, []string{"n2", "n3"}, "This node archives nothing, unlike n2, n3"},
		{"one has another", "a1", nil, []string{"n2"}, "Not all nodes have the archive of n1: another one is used on n2. The history of a volume begins anew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := archivesTitle("n1", tt.own, tt.without, tt.other, 3); !strings.Contains(got, tt.says) || (got == "") != (tt.says == "") {
				t.Errorf("said %q; want %q", got, tt.says)
			}
		})
	}
}

func TestPlainly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Minute: "10m", 2 * time.Hour: "2h", 90 * time.Second: "1m30s", 30 * time.Second: "30s", time.Hour + time.Second: "1h0m1s", 0: "0s",
	} {
		if got := plainly(d); got != want {
			t.Errorf("%d = %q; want %q", d, got, want)
		}
	}
}
