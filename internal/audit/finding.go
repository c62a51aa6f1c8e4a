package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ballast-io/ballast"
)

// Gravity says what becomes of the state.
type Gravity string

// The gravities, the gravest first.
const (
	Lost   Gravity = "lost"   // the next update or removal of the container loses it
	Behind Gravity = "behind" // a task that starts on another node starts without it
	Tied   Gravity = "tied"   // it is there as long as this host and its disk are
)

// Meaning is what g means for the data, a sentence.
func (g Gravity) Meaning() string {
	switch g {
	case Lost:
		return "the next update or removal of the container loses it"
	case Behind:
		return "a task that starts on another node starts without it"
	case Tied:
		return "it is there as long as this host and its disk are"
	}
	return ""
}

// Gravities returns every gravity, the gravest first.
func Gravities() []Gravity { return []Gravity{Lost, Behind, Tied} }

// Kind says where the state is kept.
type Kind string

// The places that lose state.
const (
	AnonymousVolume Kind = "anonymous-volume"
	WritableLayer   Kind = "writable-layer"
	LocalVolume     Kind = "local-volume"
	HostFolder      Kind = "bind-mount"
)

// Finding is one place where state is at risk.
type Finding struct {
	Gravity  Gravity
	Kind     Kind
	Owner    Owner
	Image    string
	Path     string // in the container
	Declared bool   // the service's own description mounts something there
	Source   string // the volume or the folder on the host; empty: the writable layer
	Files    int    // changed there; 0: not known
	Bytes    int64  // of the whole writable layer; 0: not known
	Why      string
	Class    ballast.Class
	Reason   string   // for that class
	Volume   string   // a name for the volume to keep it on, free on this engine; empty: it belongs elsewhere
	Instead  []string // what to type
}

// Owner is what the state belongs to.
type Owner struct {
	Service bool   // of Swarm; otherwise a container
	Compose string // what the container is in its Compose file; empty: there is none
	Name    string
}

// String is "service web" or "container db".
func (o Owner) String() string {
	if o.Service {
		return "service " + o.Name
	}
	return "container " + o.Name
}

// Examine returns every place in w that the next update, or the loss of a host,
// takes state away from.
func Examine(w World) []Finding {
	found := newFindings(w)
	for _, s := range w.Services {
		found.service(s)
	}
	for _, c := range w.Containers {
		found.container(c)
	}
	return found.sorted()
}

// findings collects, each place once (U1).
type findings struct {
	World
	volumes map[string]Volume
	known   map[string]bool     // services that were described
	args    map[string][]string // of a task, by service: with what the image adds
	at      map[place]Finding
}

type place struct {
	owner Owner
	path  string
}

func newFindings(w World) *findings {
	f := &findings{World: w, volumes: map[string]Volume{}, known: map[string]bool{}, args: map[string][]string{}, at: map[place]Finding{}}
	for _, v := range w.Volumes {
		f.volumes[v.Name] = v
	}
	for _, s := range w.Services {
		f.known[s.Name] = true
		f.args[s.Name] = s.Args
	}
	for _, c := range w.Containers {
		f.args[c.Service] = c.Args
	}
	return f
}

// add keeps the gravest finding of a place, and of equals the first.
func (f *findings) add(found Finding) {
	key := place{found.Owner, found.Path}
	if was, ok := f.at[key]; ok && rank(was.Gravity) <= rank(found.Gravity) {
		return
	}
	f.at[key] = found
}

func rank(g Gravity) int { return slices.Index(Gravities(), g) }

// sorted completes the findings and puts them in order (U3).
func (f *findings) sorted() []Finding {
	all := make([]Finding, 0, len(f.at))
	for _, found := range f.at {
		all = append(all, found)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.Gravity), rank(b.Gravity)),
			strings.Compare(a.Owner.String(), b.Owner.String()),
			strings.Compare(a.Path, b.Path),
		)
	})
	f.advise(all)
	return all
}

// advise completes the findings with what to type, no two with the same volume.
func (f *findings) advise(all []Finding) {
	taken := map[string]bool{}
	for name := range f.volumes {
		taken[name] = true
	}
	for i := range all {
		if isSoftware(all[i]) {
			all[i].Instead = []string{"build it into the image: software and configuration are not state"}
			continue
		}
		name := volumeName(all[i])
		for n, base := 2, name; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[name] = true
		all[i].Volume = name
		all[i].Instead = instead(all[i])
	}
}
