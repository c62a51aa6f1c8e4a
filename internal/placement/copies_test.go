package placement

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

const (
	replaceAfter = 10 * time.Minute
	tib          = 1 << 40
)

// nodes reads "n1 n2:away n3:missing n4:draining n5:full".
func nodes(s string) (all []Node) {
	for word := range strings.FieldsSeq(s) {
		name, is, _ := strings.Cut(word, ":")
		n := Node{Name: ballast.NodeID(name), Free: tib}
		switch is {
		case "away":
			n.Away = time.Minute
		case "missing":
			n.Away = time.Hour
		case "draining":
			n.Draining = true
		case "full":
			n.Free = Reserve
		}
		all = append(all, n)
	}
	return all
}

// volume reads "P n1 I n1 n2 C n1 n2 n3": primary, in sync, copies.
func volume(wanted int, s string) Volume {
	vol := Volume{ID: "v", Name: "db", Room: 1 << 30, Wanted: wanted, Needed: 1, Steady: time.Hour}
	kind := ""
	for word := range strings.FieldsSeq(s) {
		n := ballast.NodeID(word)
		switch {
		case word == "P" || word == "I" || word == "C":
			kind = word
		case kind == "P":
			vol.Primary = n
		case kind == "I":
			vol.InSync = append(vol.InSync, n)
		default:
			vol.Copies = append(vol.Copies, n)
		}
	}
	return vol
}

func words(steps []Step) string {
	var all []string
	for _, s := range steps {
		if s.Add != "" {
			all = append(all, "+"+string(s.Add))
		} else {
			all = append(all, "-"+string(s.Drop))
		}
	}
	return strings.Join(all, " ")
}

func TestCopies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		nodes  string
		wanted int
		volume string
		want   string
	}{
		{"one that was never attached has no copies", "n1 n2 n3", 2, "", ""},
		{"all is well", "n1 n2 n3", 2, "P n1 I n1 n2 C n1 n2", ""},
		{"another node joined", "n1 n2", 2, "P n1 I n1 C n1", "+n2"},
		{"one catches up already", "n1 n2 n3", 2, "P n1 I n1 C n1 n2", ""},
		{"more are wanted than there are nodes", "n1 n2", 3, "P n1 I n1 n2 C n1 n2", ""},
		{"two are missing", "n1 n2 n3", 3, "P n1 I n1 C n1", "+n2 +n3"},
		{"no room", "n1 n2:full", 2, "P n1 I n1 C n1", ""},
		{"room elsewhere", "n1 n2:full n3", 2, "P n1 I n1 C n1", "+n3"},
		{"not on a node that drains", "n1 n2:draining n3", 2, "P n1 I n1 C n1", "+n3"},
		{"not on a node that is away", "n1 n2:away n3", 2, "P n1 I n1 C n1", "+n3"},

		{"a node is away for a moment", "n1 n2:away n3", 2, "P n1 I n1 C n1 n2", ""},
		{"a node stays away", "n1 n2:missing n3", 2, "P n1 I n1 C n1 n2", "+n3"},
		{"its copy is kept until the new one is in sync", "n1 n2:missing n3", 2, "P n1 I n1 C n1 n2 n3", ""},
		{"then it is given up", "n1 n2:missing n3", 2, "P n1 I n1 n3 C n1 n2 n3", "-n2"},
		{"it came back before", "n1 n2 n3", 2, "P n1 I n1 n2 C n1 n2 n3", ""},
		{"both are in sync, which is one too many", "n1 n2 n3", 2, "P n1 I n1 n2 n3 C n1 n2 n3", "-n2"},
		{"nowhere to make it anew", "n1 n2:missing", 2, "P n1 I n1 C n1 n2", ""},
		{"the last in-sync one stays away", "n1 n2:missing n3", 1, "I n2 C n2", ""},
		{"its copy is kept, for it is the last", "n1 n2:missing n3", 1, "I n2 C n1 n2", ""},

		{"a node is drained", "n1 n2:draining n3", 2, "P n1 I n1 n2 C n1 n2", "+n3"},
		{"the new copy is not in sync yet", "n1 n2:draining n3", 2, "P n1 I n1 n2 C n1 n2 n3", ""},
		{"the new copy is in sync", "n1 n2:draining n3", 2, "P n1 I n1 n2 n3 C n1 n2 n3", "-n2"},
		{"the primary is drained", "n1:draining n2 n3", 2, "P n1 I n1 n2 n3 C n1 n2 n3", ""},
		{"and detached", "n1:draining n2 n3", 2, "I n1 n2 n3 C n1 n2 n3", "-n1"},
		{"one of two nodes is drained", "n1 n2:draining", 2, "P n1 I n1 n2 C n1 n2", "-n2"},
		{"one of two is drained, and the other lacks writes", "n1 n2:draining", 2, "I n2 C n1 n2", ""},
		{"one of two is drained, and the other is away", "n1:away n2:draining", 2, "I n2 C n2", ""},
		{"a node is drained and away for long", "n1 n2:missing n3", 2, "P n1 I n1 n3 C n1 n2 n3", "-n2"},

		{"a node was removed", "n1 n3", 2, "P n1 I n1 C n1 n2", "+n3 -n2"},
		{"a node was removed that had the last copy", "n1 n3", 2, "I n2 C n2", ""},
		{"the record is young, a move may be under way", "n1 n2 n3", 2, "P n1 I n1 n2 n3 C n1 n2 n3 young", "-n2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vol := volume(tt.wanted, strings.TrimSuffix(tt.volume, " young"))
			want := tt.want
			if strings.HasSuffix(tt.volume, " young") {
				vol.Steady, want = time.Minute, ""
			}
			view := View{Nodes: nodes(tt.nodes), Volumes: []Volume{vol}, ReplaceAfter: replaceAfter}
			if got := words(Copies(view)); got != want {
				t.Errorf("plan = %q; want %q", got, want)
			}
		})
	}
}

// Many volumes are spread, and a node with no room for all gets some.
func TestCopiesAreSpread(t *testing.T) {
	view := View{Nodes: nodes("n1 n2 n3 n4"), ReplaceAfter: replaceAfter}
	view.Nodes[3].Free = Reserve + 10<<30
	for i := range 90 {
		vol := volume(2, "P n1 I n1 C n1")
		vol.ID = ballast.VolumeID(fmt.Sprintf("v%02d", i))
		view.Volumes = append(view.Volumes, vol)
	}
	got := map[ballast.NodeID]int{}
	for _, s := range Copies(view) {
		got[s.Add]++
	}
	if got["n2"] != 40 || got["n3"] != 40 || got["n4"] != 10 {
		t.Errorf("copies = %v; want 40, 40 and the 10 that n4 has room for", got)
	}
}

func TestTenders(t *testing.T) {
	for _, tt := range []struct {
		name, nodes, volume string
		want                ballast.NodeID
	}{
		{"all is well", "n1 n2", "I n1 n2 C n1 n2", ""},
		{"one lacks something", "n1 n2 n3", "I n1 n2 C n1 n2 n3", "n1"},
		{"it is away", "n1 n2 n3:away", "I n1 n2 C n1 n2 n3", ""},
		{"the first one is away", "n1:away n2 n3", "I n1 n2 C n1 n2 n3", "n2"},
		{"nobody is in sync that is up", "n1:away n2:missing n3", "I n1 n2 C n1 n2 n3", ""},
		{"a node that drains can tend", "n1:draining n2", "I n1 C n1 n2", "n1"},
		{"a node that drains and is away cannot", "n2 n3", "I n1 C n1 n2", ""},
		{"it is attached", "n1 n2", "P n1 I n1 C n1 n2", ""},
		{"its holder is away", "n1:away n2", "P n1 I n1 n2 C n1 n2", ""},
		{"its holder stays away", "n1:missing n2", "P n1 I n1 n2 C n1 n2", "n2"},
		{"its holder was removed", "n2 n3", "P n1 I n1 n2 C n1 n2 n3", "n2"},
		{"its holder is gone with the only copy", "n2 n3", "P n1 I n1 C n1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Tenders(View{Nodes: nodes(tt.nodes), Volumes: []Volume{volume(2, tt.volume)}, ReplaceAfter: replaceAfter})
			if got["v"] != tt.want {
				t.Errorf("tender = %q; want %q", got["v"], tt.want)
			}
		})
	}
}

func TestController(t *testing.T) {
	for s, want := range map[string]ballast.NodeID{"n2 n1": "n1", "n1:away n2 n3": "n2", "n1:away": "", "": "", "n1:draining n2": "n1"} {
		if got := Controller(nodes(s)); got != want {
			t.Errorf("controller of %q = %q; want %q", s, got, want)
		}
	}
}

// TestPlansLeadSomewhere carries out plans for clusters by chance, and asks for L1 after
// each step, for L2 at the end, and for L4.
func TestPlansLeadSomewhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("BALLAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	steps := 0
	for i := range uint64(3000) {
		steps += lead(t, seed, i)
		if t.Failed() {
			t.Fatalf("BALLAST_SEED=%d, cluster %d", seed, i)
		}
	}
	if steps < 3000 {
		t.Errorf("only %d steps were taken", steps)
	}
}

func lead(t *testing.T, seed, stream uint64) (taken int) {
	rng := rand.New(rand.NewPCG(seed, stream))
	view := chanceView(rng)
	for range 100 {
		shuffled := view
		shuffled.Nodes, shuffled.Volumes = slices.Clone(view.Nodes), slices.Clone(view.Volumes)
		rng.Shuffle(len(shuffled.Nodes), func(i, j int) {
			shuffled.Nodes[i], shuffled.Nodes[j] = shuffled.Nodes[j], shuffled.Nodes[i]
		})
		rng.Shuffle(len(shuffled.Volumes), func(i, j int) {
			shuffled.Volumes[i], shuffled.Volumes[j] = shuffled.Volumes[j], shuffled.Volumes[i]
		})
		plan := Copies(view)
		if !slices.Equal(plan, Copies(shuffled)) {
			t.Errorf("the plan depends on the order of what is known (L4)\n%+v", view)
		}
		if len(plan) == 0 {
			return taken
		}
		for _, s := range plan {
			carryOut(t, &view, s)
			taken++
		}
		catchUp(&view)
	}
	t.Errorf("the plans never end (L2): %v\n%+v", Copies(view), view)
	return taken
}

func chanceView(rng *rand.Rand) View {
	view := View{ReplaceAfter: replaceAfter}
	states := []string{"", "", "", "", ":away", ":missing", ":draining", ":full"}
	var all []string
	for i := range 2 + rng.IntN(5) {
		all = append(all, fmt.Sprintf("n%d%s", i, states[rng.IntN(len(states))]))
	}
	view.Nodes = nodes(strings.Join(all, " "))
	for i := range 1 + rng.IntN(4) {
		vol := Volume{ID: ballast.VolumeID(fmt.Sprintf("v%d", i)), Wanted: 1 + rng.IntN(3), Needed: 1, Room: 1 << 30, Steady: time.Hour}
		vol.Needed += rng.IntN(vol.Wanted)
		for j := range 7 { // n5, n6 may be gone
			n := ballast.NodeID(fmt.Sprintf("n%d", j))
			if rng.IntN(2) == 0 {
				continue
			}
			vol.Copies = append(vol.Copies, n)
			if len(vol.InSync) == 0 || rng.IntN(2) == 0 {
				vol.InSync = append(vol.InSync, n)
			}
		}
		if len(vol.InSync) > 0 && rng.IntN(2) == 0 {
			vol.Primary = vol.InSync[rng.IntN(len(vol.InSync))]
		}
		view.Volumes = append(view.Volumes, vol)
	}
	return view
}

func carryOut(t *testing.T, view *View, s Step) {
	vol := &view.Volumes[slices.IndexFunc(view.Volumes, func(v Volume) bool { return v.ID == s.Volume })]
	without := func(all []ballast.NodeID) []ballast.NodeID {
		return slices.DeleteFunc(slices.Clone(all), func(n ballast.NodeID) bool { return n == s.Drop })
	}
	if s.Add != "" {
		if slices.Contains(vol.Copies, s.Add) {
			t.Errorf("%s has a copy already: %+v", s.Add, vol)
		}
		vol.Copies = append(slices.Clone(vol.Copies), s.Add)
		return
	}
	counted := slices.Contains(vol.InSync, s.Drop)
	vol.Copies, vol.InSync = without(vol.Copies), without(vol.InSync)
	if s.Drop == vol.Primary || len(vol.InSync) == 0 || counted && len(vol.InSync) < vol.Needed {
		t.Errorf("%v leaves %+v (L1)", s, vol)
	}
}

// catchUp brings in sync what is on nodes that are up, where somebody is who leads.
func catchUp(view *View) {
	stands := view.standings()
	for i := range view.Volumes {
		vol := &view.Volumes[i]
		if !slices.ContainsFunc(vol.InSync, func(n ballast.NodeID) bool { return stands[n] == standsBy }) {
			continue
		}
		for _, n := range vol.Copies {
			if stands[n] == standsBy && !slices.Contains(vol.InSync, n) {
				vol.InSync = append(slices.Clone(vol.InSync), n)
			}
		}
	}
}

// Room is what is missing only where every node that could take a copy has none.
func TestWithoutRoom(t *testing.T) {
	for _, tt := range []struct {
		name, nodes string
		wanted      int
		volume      string
		lacks       bool
		full        string
	}{
		{"enough copies", "n1 n2 n3", 2, "P n1 I n1 n2 C n1 n2", false, ""},
		{"one has room", "n1 n2:full n3", 2, "P n1 I n1 C n1", true, ""},
		{"none has", "n1 n2:full n3:full", 2, "P n1 I n1 C n1", true, "n2 n3"},
		{"none could take one", "n1 n2:away n3:draining", 2, "P n1 I n1 C n1", true, ""},
		{"a copy on a node that stays away does not count", "n1 n2:missing n3:full", 2, "P n1 I n1 n2 C n1 n2", true, "n3"},
		{"never attached", "n1 n2:full", 2, "", false, ""},
	} {
		vol := volume(tt.wanted, tt.volume)
		view := View{Nodes: nodes(tt.nodes), Volumes: []Volume{vol}, ReplaceAfter: replaceAfter}
		if got := len(view.Lacking()) == 1; got != tt.lacks {
			t.Errorf("%s: lacking %t; want %t", tt.name, got, tt.lacks)
		}
		if !tt.lacks {
			continue
		}
		var full []string
		for _, n := range view.WithoutRoom(vol) {
			full = append(full, string(n.Name))
		}
		if got := strings.Join(full, " "); got != tt.full {
			t.Errorf("%s: without room %q; want %q", tt.name, got, tt.full)
		}
	}
}
