package tail

import (
	"context"
	"slices"

	"github.com/ballast-io/ballast/internal/archive/store"
)

// check looks at what the store has: whether another writer has followed, whether what was
// shipped is there, and what this writer shipped before it crashed and forgot.
func (s *Shipper) check(ctx context.Context) error {
	var objects []store.Object
	for obj, err := range s.Store.List(ctx, VolumePrefix(s.Volume)) {
		if err != nil {
			return err
		}
		objects = append(objects, obj)
		if err := s.checkFencedBy(ctx, obj.Name, 0); err != nil {
			return err
		}
	}
	lost := s.lost(objects)
	if err := s.adopt(ctx, objects); err != nil {
		return err
	}
	s.checked, s.shipped = 0, nil // it is said once
	if lost != nil {
		return &LostError{lost}
	}
	return nil
}

// lost returns what was shipped since the last look and is not there.
func (s *Shipper) lost(objects []store.Object) (lost []string) {
	names := append([]string{Name{Kind: OpenKind, Volume: s.Volume, Epoch: s.state.Epoch}.String()}, s.shipped...)
	if s.state.Object != "" && !slices.Contains(names, s.state.Object) {
		names = append(names, s.state.Object)
	}
	for _, name := range names {
		if !slices.ContainsFunc(objects, func(o store.Object) bool { return o.Name == name }) {
			lost = append(lost, name)
		}
	}
	return lost
}

// adopt moves the state to the newest object that continues it. It was put by this writer, whose
// state or head was not stored any more.
func (s *Shipper) adopt(ctx context.Context, objects []store.Object) error {
	reader := NewReader(s.Store, s.Sealer)
	nodes := map[Digest]*node{}
	for _, obj := range objects {
		n := ParseName(obj.Name)
		if n.Kind != SegmentKind || n.Epoch != s.state.Epoch || n.Last <= s.state.Last {
			continue
		}
		f := Found{Name: obj.Name, Size: obj.Size}
		if err := reader.readHeader(ctx, &f); err != nil {
			return err
		}
		if f.Header != nil && f.misfit(n) == "" && f.Header.Reign == s.state.Reign {
			nodes[f.Header.digest] = &node{f.Name, f.Header}
		}
	}
	heirs := map[Digest]bool{s.state.Digest: true}
	for _, n := range sortedNodes(nodes) { // a node comes behind the one before it
		if heirs[n.Prev] {
			heirs[n.digest] = true
			s.advance(n.name, n.Header)
		}
	}
	return nil
}
