package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// maxOrigins bounds how many volumes began as one another, one after the other.
const maxOrigins = 16

// History returns what the archive has of a volume; nothing is not an error. It reads
// the headers of the volume's tail, and of its origin's as far as they are needed.
func (a *Archive) History(ctx context.Context, volume ballast.VolumeID) (*History, error) {
	bases, damage, err := a.allBases(ctx)
	if err != nil {
		return nil, fmt.Errorf("read history of volume %s: %w", volume, err)
	}
	r := &historian{archive: a, bases: bases, damage: damage}
	return r.read(ctx, volume, 0)
}

// Plan finds a point of a volume, as [History.Plan] does, and reads no more of the tail
// than what is behind the base snapshot that it probably needs.
func (a *Archive) Plan(ctx context.Context, volume ballast.VolumeID, when When) (*Plan, error) {
	bases, damage, err := a.allBases(ctx)
	if err != nil {
		return nil, fmt.Errorf("plan restore of volume %s: %w", volume, err)
	}
	r := &historian{archive: a, bases: bases, damage: damage}
	_, plan, err := r.plan(ctx, volume, when)
	return plan, err
}

// plan returns a plan, and the history that it was found in, if that could be read.
func (r *historian) plan(ctx context.Context, volume ballast.VolumeID, when When) (*History, *Plan, error) {
	if from := guess(r.bases[volume], when); from > 0 {
		h, err := r.read(ctx, volume, from)
		if err != nil {
			return nil, nil, err
		}
		if plan, err := h.Plan(when); err == nil {
			return h, plan, nil
		}
		// It may be older than the guess; and what is wrong, the whole history tells best.
	}
	h, err := r.read(ctx, volume, 0)
	if err != nil {
		return nil, nil, err
	}
	plan, err := h.Plan(when)
	return h, plan, err
}

// guess returns where the base that a plan needs probably is.
func guess(bases []Base, when When) (from ballast.LSN) {
	for _, b := range bases {
		switch {
		case when.Snapshot != "":
			return 0
		case when.Exactly != nil && b.Point.LSN > when.Exactly.LSN:
		case !when.Time.IsZero() && b.Point.Time.After(when.Time):
		default:
			from = b.Point.LSN
		}
	}
	return from
}

// historian reads the histories of volumes that began as one another.
type historian struct {
	archive *Archive
	bases   map[ballast.VolumeID][]Base
	damage  error
	way     []ballast.VolumeID // to the volume that is being read
}

// read reads the history of a volume behind an LSN.
func (r *historian) read(ctx context.Context, volume ballast.VolumeID, from ballast.LSN) (*History, error) {
	line, err := r.archive.log.Load(ctx, volume, from)
	if err != nil {
		return nil, fmt.Errorf("read history of volume %s: %w", volume, err)
	}
	h := newHistory(line, r.bases[volume])
	h.doubt()
	if r.damage != nil {
		h.Problems = append(h.Problems, r.damage.Error())
	}
	if from == 0 {
		err = r.begin(ctx, h)
	}
	h.judge()
	return h, err
}

// begin finds out how a volume began.
func (r *historian) begin(ctx context.Context, h *History) (err error) {
	r.way = append(r.way, h.Volume)
	defer func() { r.way = r.way[:len(r.way)-1] }()
	if h.begin, err = r.beginning(ctx, h); err != nil {
		return fmt.Errorf("read history of volume %s: %w", h.Volume, err)
	}
	if h.begin != nil && h.begin.err != nil {
		h.Problems = append(h.Problems, h.begin.err.Error())
	}
	return nil
}

// newHistory returns what a line and bases make. How it began is not known yet.
func newHistory(line *tail.Line, bases []Base) *History {
	h := &History{Volume: line.Volume, line: line}
	for _, b := range bases {
		if line.OnPath(b.Point.Epoch, b.Point.LSN) {
			h.Bases = append(h.Bases, b)
		} else {
			h.strays = append(h.strays, b)
		}
	}
	h.describe(bases)
	for i := range line.Segments {
		if o, ok := objectOf(&line.Segments[i]); ok {
			h.objects = append(h.objects, o)
		}
	}
	for i := range line.Problems {
		p := &line.Problems[i]
		h.Problems = append(h.Problems, p.Error())
		if h.head = max(h.head, p.To); p.To == 0 {
			h.behind = p
		}
	}
	return h
}

// describe sets what people know of the volume.
func (h *History) describe(bases []Base) {
	if n := len(bases); n > 0 {
		h.Name = bases[n-1].Name
	}
	if open := h.line.Open; open != nil {
		h.Name, h.Spec = open.Name, open.Spec
	}
	if removed := h.line.Removed; removed != nil {
		h.Removed = removed.Time
	}
}

// doubt notes a base of an epoch that the log does not know: then the end of the log is
// lost, and what is left of it is not the whole history.
func (h *History) doubt() {
	for _, b := range h.strays {
		if b.Point.Epoch > h.line.Epoch {
			h.behind = fmt.Errorf("base snapshot %s is of %s, and the log ends in %s", b.Snapshot.Short(), b.Point.Epoch, h.line.Epoch)
			h.Problems = append(h.Problems, h.behind.Error())
		}
	}
}

// objectOf returns what counts of a segment; false: nothing does.
func objectOf(s *tail.Segment) (object, bool) {
	groups := s.Groups()
	if len(groups) == 0 {
		return object{}, false
	}
	h := s.Header
	o := object{Object: Object{Epoch: h.Epoch, First: h.First, Last: h.Last, Front: h.ObjectSize(), Digest: h.Digest()}, bytes: h.ObjectSize()}
	if last := groups[len(groups)-1].Last; last < h.Last {
		o.Until = last
	}
	if len(h.Frames) > 0 {
		o.Front = h.Frames[0].Offset
	}
	for _, g := range groups {
		if g.IsPoint() {
			o.points = append(o.points, tail.Point{Time: g.Time, LSN: g.Last, Epoch: h.Epoch, Size: g.Size})
		}
	}
	return o, true
}

// beginning returns what the volume was before its first record; nil: the tail does
// not reach back so far, or nobody knows any more.
func (r *historian) beginning(ctx context.Context, h *History) (*beginning, error) {
	first, err := r.firstOpen(ctx, h)
	if err != nil || first == nil {
		return nil, err
	}
	b := &beginning{point: tail.Point{Time: first.Time, Epoch: first.Epoch, Size: first.Spec.Size}}
	if first.Origin == nil {
		return b, nil
	}
	if b.origin, b.err = r.origin(ctx, first.Origin); b.err != nil && !isVerdict(b.err) {
		return nil, b.err
	}
	return b, nil
}

// firstOpen returns the open that the volume began with, if the tail leads back to it.
func (r *historian) firstOpen(ctx context.Context, h *History) (open *tail.Open, err error) {
	switch {
	case len(h.objects) == 0:
		open = h.line.Open
	case h.objects[0].First == 1:
		reign := h.line.Segments[0].Header.Reign
		open, err = r.archive.readOpen(ctx, h.Volume, reign.Epoch, reign.Open)
	}
	for err == nil && open != nil && open.Parent.Epoch > 0 {
		if open.Parent.LSN > 0 {
			return nil, nil
		}
		open, err = r.archive.readOpen(ctx, h.Volume, open.Parent.Epoch, open.Parent.Digest)
	}
	return open, err
}

// readOpen reads the open of an epoch; nil: it is not there, or not the one with this
// digest. The log says so itself.
func (a *Archive) readOpen(ctx context.Context, volume ballast.VolumeID, epoch ballast.Epoch, digest tail.Digest) (*tail.Open, error) {
	sealed, err := a.getOpen(ctx, tail.Name{Kind: tail.OpenKind, Volume: volume, Epoch: epoch})
	if errors.Is(err, ballast.ErrNotFound) || errors.Is(err, ballast.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	open, got, err := tail.DecodeOpen(sealed, a.sealer)
	if err == nil && got == digest && open.Volume == volume && open.Epoch == epoch {
		return open, nil
	}
	return nil, nil // damaged is as good as missing, and told by the log
}

// getOpen reads an open, sealed.
func (a *Archive) getOpen(ctx context.Context, name tail.Name) ([]byte, error) {
	for object, err := range a.store.List(ctx, name.String()) {
		switch {
		case err != nil:
			return nil, err
		case object.Name != name.String():
		case object.Size > tail.MaxDocument:
			return nil, fmt.Errorf("%s has %d bytes: %w", name, object.Size, ballast.ErrInvalid)
		default:
			return a.store.Get(ctx, object.Name, 0, object.Size)
		}
	}
	return nil, fmt.Errorf("read %s: %w", name, ballast.ErrNotFound)
}

// origin returns the plan for what a volume began as.
func (r *historian) origin(ctx context.Context, o *tail.Origin) (*Plan, error) {
	for _, v := range r.way {
		if v == o.Volume {
			return nil, errVerdict{fmt.Errorf("volume %s began as itself: %w", v, ballast.ErrInvalid)}
		}
	}
	if len(r.way) > maxOrigins {
		return nil, errVerdict{fmt.Errorf("more than %d volumes began as one another: %w", maxOrigins, ballast.ErrInvalid)}
	}
	// As it was then: a volume that was restored in its place since left that line.
	line, err := r.archive.log.LoadUntil(ctx, o.Volume, o.Point.Epoch)
	if err != nil {
		return nil, err
	}
	h := newHistory(line, r.bases[o.Volume])
	if err := r.begin(ctx, h); err != nil {
		return nil, err
	}
	h.judge()
	plan, err := h.Plan(When{Exactly: &o.Point})
	if err != nil {
		return nil, errVerdict{fmt.Errorf("its origin: %w", err)}
	}
	return plan, nil
}

// errVerdict is what is wrong with an origin, in contrast to what is wrong with the way
// to the store.
type errVerdict struct{ error }

func (e errVerdict) Unwrap() error { return e.error }

func isVerdict(err error) bool {
	var v errVerdict
	return errors.As(err, &v)
}
