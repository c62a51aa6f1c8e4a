package placement

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

// act is what becomes of the nodes, and the steps that follow before the next act, in order:
// "." is that everything that is on nodes that are up comes in sync.
type act struct{ nodes, steps string }

// play plays a story of one volume, each act to its end, and returns what becomes of it.
func play(t *testing.T, vol Volume, acts []act) Volume {
	t.Helper()
	view := View{Volumes: []Volume{vol}, ReplaceAfter: replaceAfter}
	for i, a := range acts {
		view.Nodes = nodes(a.nodes)
		got := ""
		for range 10 {
			plan := Copies(view)
			if len(plan) == 0 {
				break
			}
			got += words(plan) + " "
			for _, s := range plan {
				carryOut(t, &view, s) // which asks for L1
			}
			catchUp(&view)
		}
		if got = strings.TrimSpace(got); got != a.steps {
			t.Fatalf("act %d, nodes %q: %q; want %q, from %+v", i, a.nodes, got, a.steps, view.Volumes[0])
		}
	}
	return view.Volumes[0]
}

// What happens to a volume as nodes go, come, fill up and are drained, one thing after another.
func TestStories(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wanted int
		volume string
		acts   []act
		ends   string // copies, in the end
	}{
		{"away for too long, then back: nothing moves back", 2, "P n1 I n1 C n1 n2", []act{
			{"n1 n2:away n3", ""},
			{"n1 n2:missing n3", "+n3 -n2"},
			{"n1 n2 n3", ""},
		}, "n1 n3"},
		{"back before it is too long: nothing was moved", 2, "P n1 I n1 C n1 n2", []act{
			{"n1 n2:away n3", ""},
			{"n1 n2 n3", ""},
		}, "n1 n2"},
		{"away for too long, and nowhere is room", 2, "P n1 I n1 C n1 n2", []act{
			{"n1 n2:missing n3:full", ""},
			{"n1 n2:missing n3", "+n3 -n2"},
		}, "n1 n3"},
		{"every node is full: all copies stay where they are", 2, "P n1 I n1 n2 C n1 n2", []act{
			{"n1:full n2:full n3:full", ""},
			{"n1:full n2:missing n3:full", ""},
			{"n1:full n2:full n3:full", ""},
		}, "n1 n2"},
		{"drained, and it is undone when all is done: nothing moves back", 2, "P n1 I n1 n2 C n1 n2", []act{
			{"n1 n2:draining n3", "+n3 -n2"},
			{"n1 n2 n3", ""},
		}, "n1 n3"},
		{"drained with nowhere to go, and undone", 2, "P n1 I n1 n2 C n1 n2", []act{
			{"n1 n2:draining n3:full", ""},
			{"n1 n2 n3:full", ""},
		}, "n1 n2"},
		{"drained while the other copy is away: the last one stays", 2, "P n2 I n2 C n1 n2", []act{
			{"n1:away n2:draining", ""},
			{"n1:missing n2:draining", ""},
			{"n1 n2:draining", ""},
		}, "n1 n2"},
		{"the last node standing keeps what it has, and the others' copies count when they come back", 3, "P n1 I n1 n2 n3 C n1 n2 n3", []act{
			{"n1 n2:away n3:away", ""},
			{"n1 n2:missing n3:missing", ""},
			{"n1:draining n2:missing n3:missing", ""},
			{"n1 n2 n3", ""},
		}, "n1 n2 n3"},
		{"the last node standing, of a cluster that the others were removed from", 3, "P n1 I n1 n2 n3 C n1 n2 n3", []act{
			{"n1", "-n2 -n3"},
			{"n1 n4 n5", "+n4 +n5"},
		}, "n1 n4 n5"},
		{"the last node standing has not the last in-sync copy", 2, "I n2 C n1 n2", []act{
			{"n1 n2:missing", ""},
			{"n1", ""},
		}, "n1 n2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := play(t, volume(tt.wanted, tt.volume), tt.acts)
			if want := volume(0, "C "+tt.ends).Copies; !slices.Equal(slices.Sorted(slices.Values(got.Copies)), want) {
				t.Errorf("copies = %q; want %q", got.Copies, want)
			}
		})
	}
}

// L3: a node may be away for up to that long, to the moment; who drains it does not wait.
func TestReplaceAfterToTheMoment(t *testing.T) {
	for _, tt := range []struct {
		away     time.Duration
		draining bool
		want     string
	}{
		{1, false, ""},
		{replaceAfter - 1, false, ""},
		{replaceAfter, false, "+n3"},
		{replaceAfter + 1, false, "+n3"},
		{1, true, "+n3"},
	} {
		view := View{Nodes: nodes("n1 n2 n3"), Volumes: []Volume{volume(2, "P n1 I n1 C n1 n2")}, ReplaceAfter: replaceAfter}
		view.Nodes[1].Away, view.Nodes[1].Draining = tt.away, tt.draining
		if got := words(Copies(view)); got != tt.want {
			t.Errorf("away for %v, draining %t: %q; want %q", tt.away, tt.draining, got, tt.want)
		}
	}
}

// A drain that is undone while a copy is being made leaves one too many, which goes only when
// the record has been the same for a while: the copy may be where somebody moves to.
func TestUndoneDrainLeavesOneTooMany(t *testing.T) {
	vol := volume(2, "P n1 I n1 n2 n3 C n1 n2 n3")
	for _, tt := range []struct {
		steady time.Duration
		want   string
	}{{0, ""}, {replaceAfter - 1, ""}, {replaceAfter, "-n2"}} {
		vol.Steady = tt.steady
		if got := words(Copies(View{Nodes: nodes("n1 n2 n3"), Volumes: []Volume{vol}, ReplaceAfter: replaceAfter})); got != tt.want {
			t.Errorf("steady for %v: %q; want %q", tt.steady, got, tt.want)
		}
	}
}

// A node that has room for one copy gets one, to the byte, and the next volume's goes elsewhere or nowhere.
func TestRoomToTheByte(t *testing.T) {
	one, two := volume(2, "P n1 I n1 C n1"), volume(2, "P n1 I n1 C n1")
	one.ID, two.ID = "a", "b"
	for _, tt := range []struct {
		free int64
		want []ballast.VolumeID
	}{
		{Reserve + one.Room - 1, nil},
		{Reserve + one.Room, []ballast.VolumeID{"a"}},
		{Reserve + 2*one.Room - 1, []ballast.VolumeID{"a"}},
		{Reserve + 2*one.Room, []ballast.VolumeID{"a", "b"}},
	} {
		view := View{Nodes: nodes("n1 n2"), Volumes: []Volume{two, one}, ReplaceAfter: replaceAfter}
		view.Nodes[1].Free = tt.free
		var got []ballast.VolumeID
		for _, s := range Copies(view) {
			got = append(got, s.Volume)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d bytes are free: copies of %q are made; want of %q", tt.free, got, tt.want)
		}
	}
}
