package main

import (
	"testing"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func TestHeldLine(t *testing.T) {
	held := &ballastv1.Volume{
		Name: "db", Primary: "n3", Holders: []string{"docker:8f1d", "cli"},
		Copies: []*ballastv1.Copy{{Node: "n1", State: "in-sync"}, {Node: "n3", State: "primary"}},
	}
	away := &ballastv1.Volume{Name: "db", Primary: "n3", Copies: []*ballastv1.Copy{{Node: "n3", State: "away"}}}
	for _, tt := range []struct {
		name   string
		volume *ballastv1.Volume
		node   string
		want   string
	}{
		{"nobody has it", &ballastv1.Volume{Name: "db"}, "n1", ""},
		{"it comes up here", held, "n3", ""},
		{"an agent that does not say who it is", held, "", ""},
		{"another node has it", held, "n1", "waiting until node n3 lets go of db, which is held there by docker:8f1d, cli; to move it: ballast volume move db n1"},
		{"another node had it", away, "n1", "waiting until db can be taken over from node n3, which is away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := heldLine(tt.volume, tt.node); got != tt.want {
				t.Errorf("heldLine = %q\nwant %q", got, tt.want)
			}
		})
	}
}
