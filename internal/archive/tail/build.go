package tail

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ballast-io/ballast"
)

// Build finds the history of a volume among the objects of its folder. Of what is at or before
// from, nothing is asked: headers of segments that end there need not be read. It is a
// pure function, and the order of found does not matter.
func Build(volume ballast.VolumeID, from ballast.LSN, found []Found) *Line {
	b := &builder{from: from, sorter: sorter{line: &Line{Volume: volume}, epochs: map[ballast.Epoch]*epoch{}}}
	for i := range found {
		b.add(&found[i])
	}
	for _, e := range b.epochs {
		e.settle()
	}
	b.missLatest()
	b.follow()
	for _, p := range b.line.path {
		b.collect(p)
	}
	b.findHoles()
	b.judge()
	b.noteTheRest()
	if r := b.line.Removed; r != nil && r.Epoch < b.line.Epoch {
		b.line.Removed = nil // it was opened since
	}
	return b.line
}

// endOfNumbers is where the last epoch is left: nowhere.
const endOfNumbers = ^ballast.LSN(0)

type builder struct {
	sorter
	from   ballast.LSN
	holes  []hole
	lost   []hole // epochs of which nothing says where they continue
	points []Point
}

// descending returns the numbers of all epochs, the highest first.
func (b *builder) descending() []ballast.Epoch {
	return slices.SortedFunc(maps.Keys(b.epochs), func(x, y ballast.Epoch) int { return cmp.Compare(y, x) })
}

// follow goes from the highest epoch back to where the parents end (T3).
func (b *builder) follow() {
	l := b.line
	for _, number := range b.descending() {
		e := b.epochs[number]
		l.Epoch = max(l.Epoch, number)
		switch {
		case e.reign == nil:
			b.lost, l.lost = append(b.lost, hole{epoch: number}), true
			continue
		case len(b.lost) == 0:
			l.tip = Position{number, e.reign.Parent.LSN, e.reign.Open}
			b.followFrom(*e.reign, Position{LSN: endOfNumbers})
		default:
			b.followLost(e)
		}
		return
	}
}

// followLost follows where it is known that a higher epoch was opened, but not where that left
// this one: certain is only what this one continues.
func (b *builder) followLost(e *epoch) {
	b.line.parent = e.reign.Parent
	for i := range b.lost {
		b.lost[i].after = e.reign.Parent.LSN
	}
	if p := b.epochs[e.reign.Parent.Epoch]; p != nil && p.reign != nil {
		b.followFrom(*p.reign, e.reign.Parent)
	}
}

func (b *builder) followFrom(at Reign, exit Position) {
	l := b.line
	for {
		l.path = append(l.path, span{at, exit})
		l.parent = at.Parent
		next := b.epochs[at.Parent.Epoch]
		if next == nil || next.reign == nil || next.reign.Parent.LSN > at.Parent.LSN {
			break
		}
		at, exit = *next.reign, at.Parent
	}
	slices.Reverse(l.path)
	for _, p := range l.path {
		if open := b.epochs[p.reign.Epoch].open; open != nil {
			l.Open = open
		}
	}
}

// collect appends the segments of one span to the line.
func (b *builder) collect(p span) {
	e := b.epochs[p.reign.Epoch]
	var chain []Segment
	for n, i := e.last(p.exit), len(e.sorted); n != nil; {
		chain = append(chain, Segment{n.name, n.Header, min(n.Last, p.exit.LSN)})
		first := n.First
		if before := e.before(n); before != nil || n.isFirst() {
			n = before
			continue
		}
		// The way back is missing. What is whole before it is still worth a lot.
		for n = nil; i > 0 && n == nil; i-- {
			if e.sorted[i-1].Last < first {
				n = e.sorted[i-1]
			}
		}
	}
	slices.Reverse(chain)
	b.line.Segments = append(b.line.Segments, chain...)
}

// last returns the node that holds the last record before exit.
func (e *epoch) last(exit Position) *node {
	switch {
	case exit.LSN == endOfNumbers:
		return e.tip()
	case exit.Digest == e.reign.Open:
		return nil
	}
	if n := e.nodes[exit.Digest]; n != nil && n.First <= exit.LSN && exit.LSN <= n.Last {
		return n
	}
	for _, n := range slices.Backward(e.sorted) {
		if n.First <= exit.LSN {
			return n
		}
	}
	return nil
}
