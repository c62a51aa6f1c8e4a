package archive

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/delta"
)

// The limits of a plan that somebody else may have written.
const (
	maxLayers  = maxOrigins + 1
	maxObjects = 1 << 20
	maxFront   = 8 << 20 // bytes of an object's header
)

// planned is the header of an object that a plan names.
type planned struct {
	*tail.Header
	name         string
	after, until ballast.LSN // the groups that count end behind the one, and up to the other
}

// check returns an error for a plan that this version cannot carry out.
func (p *Plan) check() error {
	if p.Format != planFormat {
		return fmt.Errorf("the plan has format %d; this version of Ballast knows %d: %w", p.Format, planFormat, ballast.ErrInvalid)
	}
	objects := 0
	for _, l := range p.Layers {
		objects += len(l.Objects)
	}
	if len(p.Layers) > maxLayers || objects > maxObjects {
		return fmt.Errorf("the plan has %d layers with %d objects: %w", len(p.Layers), objects, ballast.ErrInvalid)
	}
	return checkSize(p.Point.Size)
}

// headersOf reads the headers of all objects of a plan, in order.
func (a *Archive) headersOf(ctx context.Context, plan *Plan) ([]*planned, error) {
	var all []*planned
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(treeReaders)
	for _, layer := range plan.Layers {
		for _, o := range layer.Objects {
			p := &planned{after: layer.After, until: min(layer.Until, o.until())}
			all = append(all, p)
			group.Go(func() error { return a.readHeader(ctx, layer.Volume, o, p) })
		}
	}
	return all, group.Wait()
}

// readHeader reads one header, and verifies that it is the one that was planned (H2).
func (a *Archive) readHeader(ctx context.Context, volume ballast.VolumeID, o Object, p *planned) (err error) {
	p.name = o.name(volume)
	if o.Front <= 0 || o.Front > maxFront {
		return fmt.Errorf("%s has a header of %d bytes: %w", p.name, o.Front, ballast.ErrInvalid)
	}
	front, err := a.store.Get(ctx, p.name, 0, o.Front)
	if err != nil {
		return fmt.Errorf("read records %d to %d: %w", o.First, o.Last, err)
	}
	if p.Header, err = tail.DecodeHeader(front, a.sealer); err != nil {
		return fmt.Errorf("read %s: %w", p.name, err)
	}
	if p.Digest() != o.Digest || p.Volume != volume || p.Epoch != o.Epoch || p.First != o.First || p.Last != o.Last {
		return fmt.Errorf("%s is not what was there when the restore was planned: %w", p.name, ballast.ErrInvalid)
	}
	return nil
}

// name returns the object's name in the store.
func (o *Object) name(volume ballast.VolumeID) string {
	return tail.Name{Kind: tail.SegmentKind, Volume: volume, Epoch: o.Epoch, First: o.First, Last: o.Last}.String()
}

// until returns the last record of the object that counts.
func (o *Object) until() ballast.LSN {
	if o.Until != 0 {
		return o.Until
	}
	return o.Last
}

// underGroup lays a group's runs, whose data begin at block from of the object, under
// what is there.
func (o *overlay) underGroup(runs []delta.Run, object, from uint32) bool {
	for _, r := range runs {
		if r.Zero {
			if !o.under(r, noObject, 0) {
				return false
			}
			continue
		}
		if !o.under(r, object, from) {
			return false
		}
		from += uint32(r.Count)
	}
	return true
}

// dataBlocks returns how many blocks of data runs have.
func dataBlocks(runs []delta.Run) (n uint32) {
	for _, r := range runs {
		if !r.Zero {
			n += uint32(r.Count)
		}
	}
	return n
}
