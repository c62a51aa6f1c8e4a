package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Source is a volume at one point, as the archive has it. It fetches what is asked
// for, verifies it (H2), and holds 32 bytes of memory per chunk that is not all zeros, up
// to 32 MiB of the tail's data, and no lock: what it needs must not be pruned.
type Source struct {
	repo    *repository.Repository
	plan    *Plan
	chunks  int
	base    *image // nil: zeros
	zero    repository.ID
	overlay *overlay
	frames  *frames
}

// Scratch is a file of the caller's that a [Source] keeps the tail's data in, so that
// nothing is fetched twice however a database scattered it. It may be large and sparse.
type Scratch interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
}

// Source opens the point that a plan leads to. It reads trees and the tail's headers,
// and no data. Scratch may be nil; it is the caller's to close and to delete, when the
// source is not used any more.
func (a *Archive) Source(ctx context.Context, plan *Plan, scratch Scratch) (*Source, error) {
	s, err := a.source(ctx, plan, scratch)
	if err != nil {
		return nil, fmt.Errorf("open volume %q at %s in the archive: %w", plan.Name, Moment(plan.Point.Time), err)
	}
	return s, nil
}

func (a *Archive) source(ctx context.Context, plan *Plan, scratch Scratch) (*Source, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	s := &Source{repo: a.repo, plan: plan, chunks: chunksOf(plan.Point.Size), zero: repository.Hash(zeroChunk)}
	if err := a.repo.LoadIndex(ctx); err != nil {
		return nil, err
	}
	if plan.Base != nil {
		var err error
		if s.base, err = openImage(ctx, a.repo, plan.Base.Tree); err != nil {
			return nil, err
		}
		if m := s.base.manifest; m.Volume != plan.Base.Volume || !samePoint(m.point(), plan.Base.Point) || s.base.chunks > s.chunks {
			return nil, fmt.Errorf("base snapshot %s is not the one of the plan: %w", plan.Base.Snapshot.Short(), ballast.ErrInvalid)
		}
	}
	return s, s.openTail(ctx, a, scratch)
}

// openTail reads the headers and lays their runs over each other.
func (s *Source) openTail(ctx context.Context, a *Archive, scratch Scratch) error {
	headers, err := a.headersOf(ctx, s.plan)
	if err != nil {
		return err
	}
	s.overlay, s.frames = newOverlay(s.chunks), newFrames(a.store, a.sealer, headers, scratch)
	for i, h := range slices.Backward(headers) {
		if err := s.overlay.underObject(h, uint32(i)); err != nil {
			return err
		}
	}
	return nil
}

// underObject lays an object's groups under what is there, the newest first.
func (o *overlay) underObject(h *planned, object uint32) error {
	groups, err := h.Runs()
	if err != nil {
		return err
	}
	from := make([]uint32, len(groups)) // the first block of a group's data
	for i := range groups[1:] {
		from[i+1] = from[i] + dataBlocks(groups[i])
	}
	for i, runs := range slices.Backward(groups) {
		if last := h.Groups[i].Last; last <= h.after || last > h.until {
			continue
		}
		if !o.underGroup(runs, object, from[i]) {
			return fmt.Errorf("%s writes behind the volume's end: %w", h.name, ballast.ErrInvalid)
		}
	}
	return nil
}

// Size returns the volume's size in bytes.
func (s *Source) Size() int64 { return s.plan.Point.Size }

// Point returns the point that the volume is at.
func (s *Source) Point() tail.Point { return s.plan.Point }

// Plan returns what the source was opened with.
func (s *Source) Plan() *Plan { return s.plan }

// Present reports whether a chunk is all zeros for sure, so that there is nothing to fetch.
func (s *Source) Present(chunk int) bool {
	if s.overlay.covers[uint32(chunk)].dataBlocks() > 0 {
		return false
	}
	return s.overlay.isSealed(chunk) || s.baseID(chunk) == s.zero
}

// baseID returns the blob that the base has for a chunk.
func (s *Source) baseID(chunk int) repository.ID {
	if s.base != nil {
		if id, ok := s.base.of(chunk); ok {
			return id
		}
	}
	return s.zero
}

// FetchBytes returns how many bytes there are to fetch in all, before compression.
func (s *Source) FetchBytes() (n int64) {
	for chunk := range s.chunks {
		if !s.overlay.isSealed(chunk) && s.baseID(chunk) != s.zero {
			n += ballast.ChunkSize
		}
	}
	for _, c := range s.overlay.covers {
		n += int64(c.dataBlocks()) * ballast.BlockSize
	}
	return n
}

// Fetch reads a chunk into p, which has the size of one. An error leaves p
// undefined; a [repository.DamageError] or a [tail.DamageError] does not go away by itself.
func (s *Source) Fetch(ctx context.Context, chunk int, p []byte) error {
	if chunk < 0 || chunk >= s.chunks || len(p) != ballast.ChunkSize {
		return fmt.Errorf("fetch chunk %d of %d into %d bytes: %w", chunk, s.chunks, len(p), ballast.ErrInvalid)
	}
	if err := s.fetch(ctx, chunk, p); err != nil {
		return fmt.Errorf("fetch chunk %d of volume %q: %w", chunk, s.plan.Name, err)
	}
	return nil
}

func (s *Source) fetch(ctx context.Context, chunk int, p []byte) error {
	if err := s.fetchBase(ctx, chunk, p); err != nil {
		return err
	}
	c := s.overlay.covers[uint32(chunk)]
	if c == nil {
		return nil
	}
	for _, part := range c.parts {
		dst := p[int(part.at)*ballast.BlockSize : (int(part.last)+1)*ballast.BlockSize]
		if part.object == noObject {
			clear(dst)
			continue
		}
		if err := s.frames.read(ctx, part.object, part.from, dst); err != nil {
			return err
		}
	}
	return nil
}

// fetchBase reads what shows through the tail.
func (s *Source) fetchBase(ctx context.Context, chunk int, p []byte) error {
	id := s.baseID(chunk)
	if s.overlay.isSealed(chunk) || id == s.zero {
		clear(p)
		return nil
	}
	data, err := s.repo.LoadBlob(ctx, repository.DataBlob, id)
	if err != nil {
		return err
	}
	if copy(p, data) != len(p) || len(data) != len(p) {
		return fmt.Errorf("blob %s has %d bytes; a chunk has %d: %w", id.Short(), len(data), len(p), ballast.ErrInvalid)
	}
	return nil
}
