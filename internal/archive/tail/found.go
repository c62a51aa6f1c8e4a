package tail

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// Found is an object of a listing, and what is in it. An object that nobody needs to
// read has neither content nor error.
type Found struct {
	Name    string
	Size    int64 // bytes
	Open    *Open
	Digest  Digest // of an open
	Head    *Head
	Header  *Header
	Removed *Removed
	Err     error // why its content is not what it should be
}

// epoch is what was found of one epoch.
type epoch struct {
	number ballast.Epoch
	reign  *Reign // nil: nothing says where it continues
	open   *Open
	head   *Head
	nodes  map[Digest]*node
	sorted []*node // by last record, then by digest
	bad    []bad
	unread []Name // segments
	gone   bool   // that it was opened, is known from outside of it alone
}

// node is a segment that is what its name says.
type node struct {
	name string
	*Header
}

// bad is an object that is not what its name says.
type bad struct {
	Name
	why string
}

// sorter sorts what was found by epochs.
type sorter struct {
	line   *Line
	epochs map[ballast.Epoch]*epoch
	latest *Head // the one that was put beside the epochs
}

func (s *sorter) at(e ballast.Epoch) *epoch {
	if s.epochs[e] == nil {
		s.epochs[e] = &epoch{number: e, nodes: map[Digest]*node{}}
	}
	return s.epochs[e]
}

func (s *sorter) note(object, format string, args ...any) {
	s.line.Notes = append(s.line.Notes, Note{object, fmt.Sprintf(format, args...)})
}

// add puts f where it belongs.
func (s *sorter) add(f *Found) {
	n := ParseName(f.Name)
	if n.Kind == Other || n.Volume != s.line.Volume {
		s.note(f.Name, "it is no object of the log")
		return
	}
	s.line.all = append(s.line.all, n)
	switch n.Kind {
	case RemovedKind:
		s.addRemoved(f)
		return
	case LatestKind:
		s.addLatest(f)
		return
	case Other, SegmentKind, OpenKind, HeadKind:
	}
	e := s.at(n.Epoch)
	why := f.misfit(n)
	switch {
	case why != "":
		e.bad = append(e.bad, bad{n, why})
	case f.Open != nil:
		e.open = f.Open
		reign := f.Open.reign(f.Digest)
		e.reign = &reign
	case f.Head != nil:
		e.head = f.Head
	case f.Header != nil:
		e.nodes[f.Header.digest] = &node{f.Name, f.Header}
	case n.Kind == SegmentKind:
		e.unread = append(e.unread, n)
	}
}

func (s *sorter) addRemoved(f *Found) {
	switch {
	case f.Err != nil:
		s.note(f.Name, "%v", f.Err)
	case f.Removed != nil && f.Removed.Volume != s.line.Volume:
		s.note(f.Name, "it is of volume %s", f.Removed.Volume)
	default:
		s.line.Removed = f.Removed
	}
}

// addLatest keeps which epoch was opened last. Damage to it is no damage to the history: it only
// matters where that epoch is lost.
func (s *sorter) addLatest(f *Found) {
	switch {
	case f.Err != nil:
		s.note(f.Name, "%v", f.Err)
	case f.Head != nil && f.Head.Volume != s.line.Volume:
		s.note(f.Name, "it is of volume %s", f.Head.Volume)
	default:
		s.latest = f.Head
	}
}

// missLatest adds the epoch that was opened last where nothing of it tells that it was.
func (s *sorter) missLatest() {
	if s.latest == nil || s.line.Volume != s.latest.Volume {
		return
	}
	if e := s.at(s.latest.Epoch); e.reign == nil {
		e.reign, e.gone = &s.latest.Reign, true
	}
}

// misfit says why the content of f does not belong under its name; nothing if it does (T1).
func (f *Found) misfit(n Name) string {
	var is *Reign
	switch {
	case f.Err != nil:
		return f.Err.Error()
	case f.Open != nil:
		reign := f.Open.reign(f.Digest)
		is = &reign
	case f.Head != nil:
		is = &f.Head.Reign
	case f.Header != nil:
		is = &f.Header.Reign
	default:
		return ""
	}
	switch {
	case is.Volume != n.Volume || is.Epoch != n.Epoch:
		return fmt.Sprintf("it holds an object of epoch %d of volume %s", is.Epoch, is.Volume)
	case f.Header != nil && (f.Header.First != n.First || f.Header.Last != n.Last):
		return fmt.Sprintf("it holds the records %d to %d", f.Header.First, f.Header.Last)
	case f.Header != nil && f.Header.size != f.Size:
		return fmt.Sprintf("it has %d bytes and should have %d", f.Size, f.Header.size)
	}
	return ""
}

// settle finds out where the epoch continues, and drops what is of another writer that
// held it for its own.
func (e *epoch) settle() {
	e.sorted = sortedNodes(e.nodes)
	if e.reign == nil && e.head != nil {
		e.reign = &e.head.Reign
	}
	if e.reign == nil && len(e.sorted) > 0 {
		e.reign = &e.sorted[len(e.sorted)-1].Reign
	}
	if e.reign == nil {
		return
	}
	const foreign = "it is of another writer, which held the epoch for its own"
	if e.head != nil && e.head.Reign != *e.reign {
		e.bad = append(e.bad, bad{Name{Kind: HeadKind, Volume: e.reign.Volume, Epoch: e.number}, foreign})
		e.head = nil
	}
	e.sorted = slices.DeleteFunc(e.sorted, func(n *node) bool {
		if n.Reign == *e.reign {
			return false
		}
		e.bad = append(e.bad, bad{ParseName(n.name), foreign})
		delete(e.nodes, n.digest)
		return true
	})
}

func sortedNodes(nodes map[Digest]*node) []*node {
	sorted := make([]*node, 0, len(nodes))
	for _, n := range nodes {
		sorted = append(sorted, n)
	}
	slices.SortFunc(sorted, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.Last, b.Last), slices.Compare(b.digest[:], a.digest[:]))
	})
	return sorted
}

// before returns the node that comes before n in the chain; nil if it is not here.
func (e *epoch) before(n *node) *node {
	if p := e.nodes[n.Prev]; p != nil && p.Last == n.Behind {
		return p
	}
	return nil
}

// isFirst reports whether n is the first of its epoch.
func (n *node) isFirst() bool { return n.Prev == n.Open }

// kinship is how a node stands to the one that head names.
type kinship uint8

const (
	unknown  kinship = iota // its way back is not here
	ancestor                // head's chain has it
	heir                    // it is head's, or continues it
	stray                   // it left head's chain before head: a writer put it, crashed, and cut anew
)

// tip returns the newest node of the epoch that is on no stray branch, and nil if there
// is none. What head names, and what continues that, goes before what another cut made of the
// same records (T4); a node whose way back is missing may be an heir.
func (e *epoch) tip() *node {
	kin := e.kinships()
	var best *node
	for _, n := range e.sorted {
		k := kin[n.digest]
		if k == stray || k == ancestor || best != nil && best.Last == n.Last && kin[best.digest] == heir {
			continue
		}
		best = n
	}
	return best
}

func (e *epoch) kinships() map[Digest]kinship {
	kin := map[Digest]kinship{}
	if e.head == nil || e.head.Digest != e.head.Open && e.nodes[e.head.Digest] == nil {
		return kin // every node may be the newest
	}
	root := heir // how those stand that begin the epoch
	if h := e.nodes[e.head.Digest]; h != nil {
		kin[h.digest], root = heir, unknown
		for ; h != nil; h = e.before(h) {
			if h.isFirst() {
				root = stray
			}
			if kin[h.digest] == unknown {
				kin[h.digest] = ancestor
			}
		}
	}
	for _, n := range e.sorted { // a node comes behind the one before it
		if kin[n.digest] != unknown {
			continue
		}
		kin[n.digest] = e.inherit(n, kin, root)
	}
	return kin
}

func (e *epoch) inherit(n *node, kin map[Digest]kinship, root kinship) kinship {
	before := e.before(n)
	switch {
	case n.isFirst():
		return root
	case before == nil:
		return unknown
	case kin[before.digest] == ancestor:
		return stray
	}
	return kin[before.digest]
}
