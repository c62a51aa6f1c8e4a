package volume

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ballast-io/ballast"
)

// Finish brings the copy to the point. Once it has marked the copy as merging there is no way back,
// and a crash goes on with it when the copy is opened next: so the copy is at the old point
// or at the new one (R6). After it the copy is complete, its log begins behind the point, with the
// leader's lineage, and its table has the leader's LSNs.
//
// The error is [ballast.ErrInvalid] when chunks are wanting, and nothing has changed then. When the
// disk is full while chunks are merged, the copy takes nothing until Finish is called again and succeeds.
func (s *Staging) Finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable()
	if err == nil && len(s.pending) > 0 {
		err = s.settle()
	}
	if err == nil {
		err = s.f.finish(s)
	}
	if err != nil {
		return fmt.Errorf("bring volume %s to LSN %d: %w", s.f.v.id, s.to.LSN, err)
	}
	s.closed = true
	s.f.staging.CompareAndSwap(s, nil)
	return nil
}

// finish merges what is staged. It holds everything that works on the copy still.
func (f *Follower) finish(s *Staging) error {
	v := f.v
	defer f.standStill()()
	if err := v.Err(); err != nil {
		return err
	}
	if !s.merging {
		if err := f.beginMerge(s); err != nil {
			return err
		}
		s.merging = true
		v.forgetLog()
	}
	if err := v.merge(s.files, &s.stop); err != nil {
		return err
	}
	v.opts.Log.Info("copy was brought to another point", "volume", v.id, "lsn", uint64(s.to.LSN), "epoch", uint64(s.to.Epoch), "chunks", s.taken)
	return nil
}

// standStill takes all locks but mu, and returns what releases them.
func (f *Follower) standStill() (release func()) {
	f.v.urgent.Add(1)
	defer f.v.urgent.Add(-1)
	all := []*sync.Mutex{&f.appending, &f.v.applying, &f.v.making, &f.v.writing}
	for _, m := range all {
		m.Lock()
	}
	return func() {
		for _, m := range slices.Backward(all) {
			m.Unlock()
		}
	}
}

// merge makes the image what is staged, and the copy one at that point. On a full
// disk it can be called again. The caller holds all locks but mu.
func (v *Volume) merge(files *staged, stop *atomic.Bool) error {
	next, err := files.merge(v.fsys, v.dir, v.desc, stop)
	if errors.Is(err, errInterrupted) {
		return fmt.Errorf("%w; it goes on later: %w", err, ErrClosed)
	}
	if isFull(err) {
		return fmt.Errorf("the disk is full; the copy takes nothing until this has gone on; free space there: %w", err)
	}
	if err == nil {
		err = v.adoptMerged(next)
	}
	if err != nil {
		return v.poison(err)
	}
	// What is left of the staging means nothing to a descriptor that does not name it.
	if err := errors.Join(files.close(), removeStaging(v.fsys, v.dir)); err != nil {
		v.opts.Log.Warn("staged chunks could not be removed", "volume", v.id, "error", err)
	}
	return nil
}

// mergeLeft goes on with a merge for which there was no room, and whose staging
// was closed.
func (f *Follower) mergeLeft() error {
	v := f.v
	defer f.standStill()()
	if v.desc.Merging == 0 {
		return nil
	}
	files, err := loadMerging(v.fsys, v.dir, v.desc)
	if err != nil {
		return v.poison(err)
	}
	if err := v.merge(files, new(atomic.Bool)); err != nil {
		return errors.Join(err, files.close())
	}
	return fmt.Errorf("%w: the copy was brought to LSN %d only now; ask anew what it lacks", ballast.ErrNotReady, v.desc.Applied)
}

// beginMerge makes sure that all is there, and marks the copy: the caller holds applying.
func (f *Follower) beginMerge(s *Staging) error {
	v := f.v
	if s.to.Epoch < v.desc.epoch() {
		return fmt.Errorf("%w: it is %v, this is the point of %v", ErrStaleEpoch, v.desc.epoch(), s.to.Epoch)
	}
	last, _, _ := v.Position()
	if err := s.covers(v.desc, v.chunks, last); err != nil {
		return err
	}
	if v.desc.Size > s.size && v.desc.Size > s.to.Size { // the leader has grown it meanwhile
		s.files.point.Size = v.desc.Size
		s.files.resize()
		if err := s.files.point.store(v.fsys, v.dir); err != nil {
			return err
		}
	}
	if s.files.point.Direct || seeded(mergeUnmarked) {
		return nil // incomplete already, and nothing to go back to
	}
	err := v.storeDescriptor(func(d *descriptor) { d.Incomplete, d.Merging = true, s.files.point.Salt })
	if err == nil {
		return nil
	}
	// It must be certain that nothing has changed, now or after a crash.
	if seen, failed := loadDescriptor(v.fsys, v.dir); isFull(err) && failed == nil && seen.Merging == 0 {
		return err
	}
	return v.poison(err)
}

// covers holds what is staged against what the copy lacks: after the merge it must
// be the volume at the point, or nothing may begin.
func (s *Staging) covers(d *descriptor, c *chunks, last ballast.LSN) error {
	if common, known := d.History.Common(last, s.to.Lineage, s.to.LSN); s.to.Since > 0 && (!known || common < s.to.Since) {
		return fmt.Errorf("%w: the histories are not known to be the same up to LSN %d", ballast.ErrInvalid, s.to.Since)
	}
	if seeded(mergeUncovered) {
		return nil
	}
	for _, chunk := range c.lacking(s.to.Since) {
		if chunk < len(s.files.table) && s.files.table[chunk]&stagedBit == 0 {
			return fmt.Errorf("%w: chunk %d has not come, and the one that is here is of another history or another time", ballast.ErrInvalid, chunk)
		}
	}
	return nil
}

// forgetLog lets nothing be folded any more: the records are of the point that the
// copy leaves. The caller holds all locks but mu.
func (v *Volume) forgetLog() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.incomplete = true
	v.log.turns++ // who reads the image now reads it again
	v.frozen, v.active = nil, newGeneration(v.log.last+1)
}

// adoptMerged goes on with the copy at its new point. The caller holds all locks but mu.
func (v *Volume) adoptMerged(d *descriptor) error {
	image, err := v.fsys.Open(path.Join(v.dir, imageName)) // which may be another file now
	if err != nil {
		return err
	}
	c, err := openChunks(v.fsys, v.dir, d.Size)
	if err != nil {
		return errors.Join(err, image.Close())
	}
	err = v.chunks.file.Close()
	v.desc, v.chunks = d, c
	v.hydration.refill(c)
	used, failed := image.Allocated()
	v.mu.Lock()
	defer v.mu.Unlock()
	err = errors.Join(err, v.image.Close()) // who reads it still, asks in which turn that was
	v.image = image
	v.size, v.applied, v.committed, v.imageUsed = d.Size, d.Applied, d.Applied, used
	v.promised, v.incomplete = d.Promised, false
	v.begun, v.active = 0, newGeneration(d.Applied+1)
	v.log.restart(d)
	return errors.Join(err, failed)
}

// restart makes the log one that begins behind the descriptor's applied LSN. Its
// segments are ready for use; what they hold is sealed with another salt.
func (l *log) restart(d *descriptor) {
	for _, b := range l.take(true) {
		l.written(b) // into nothing
	}
	l.free = slices.Concat(l.free, l.held, l.used)
	for _, s := range l.free {
		s.seq = 0
	}
	l.held, l.used, l.next, l.dirty = nil, nil, 0, nil
	l.salt, l.history, l.last, l.durable = d.Salt, d.History, d.Applied, d.Applied
	l.points, l.done = points{latest: l.points.latest}, 0
	l.turns++
}
