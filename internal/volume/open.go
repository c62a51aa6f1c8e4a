package volume

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Open opens the volume in dir for writing, under an epoch that is higher than
// any before, else the error is [ErrStaleEpoch] (V5). Damage is a
// [*CorruptError] and changes nothing. The caller must Close the result, and
// should run [Volume.Run].
func Open(fsys vfs.FS, dir string, opts Options) (_ *Volume, err error) {
	v := newVolume(fsys, dir, opts)
	defer func() {
		if err != nil {
			err = fmt.Errorf("open volume in %s: %w", dir, errors.Join(err, v.abandon()))
		}
	}()
	if err := v.openCopy(); err != nil {
		return nil, err
	}
	return v, v.begin()
}

// openCopy reads what is on disk, and brings it in order.
func (v *Volume) openCopy() (err error) {
	if v.desc, err = loadDescriptor(v.fsys, v.dir); err != nil {
		return err
	}
	merging := v.desc.Merging != 0
	if v.desc, err = finishMerge(v.fsys, v.dir, v.desc); err != nil {
		return err
	}
	if merging {
		v.opts.Log.Info("copy was brought to another point at last", "volume", v.desc.ID, "lsn", uint64(v.desc.Applied))
	}
	if err := v.mayOpen(); err != nil {
		return err
	}
	v.id, v.size, v.segmentSize, v.applied = v.desc.ID, v.desc.Size, v.desc.Segment, v.desc.Applied
	v.promised, v.incomplete = v.desc.Promised, v.desc.Incomplete
	if err := v.openFiles(); err != nil {
		return err
	}
	v.snapshots.spilled.limit = v.opts.SpillLimit
	removeSpills(v.fsys, v.dir)
	if err := v.recover(); err != nil {
		return err
	}
	return v.syncUsed()
}

func (v *Volume) mayOpen() error {
	switch {
	case v.following:
		return nil // it says with every leader what it takes from it
	case v.desc.Incomplete:
		return fmt.Errorf("%w: this copy was never complete; open another one", ballast.ErrNotReady)
	case v.opts.Epoch <= v.desc.epoch():
		return fmt.Errorf("%w: it was opened under %v, not below %v again", ErrStaleEpoch, v.desc.epoch(), v.opts.Epoch)
	}
	return nil
}

func (v *Volume) openFiles() (err error) {
	if v.image, err = v.fsys.Open(path.Join(v.dir, imageName)); err != nil {
		return err
	}
	size, err := v.image.Size()
	if err != nil {
		return err
	}
	if size < v.size {
		return &CorruptError{File: path.Join(v.dir, imageName), Offset: size, Reason: fmt.Sprintf("the file ends here, the volume at %d", v.size)}
	}
	if v.imageUsed, err = v.image.Allocated(); err != nil {
		return err
	}
	if v.chunks, err = openChunks(v.fsys, v.dir, v.size); err != nil {
		return err
	}
	v.begun = v.chunks.begun(v.applied)
	v.hydration.init(v.chunks, v.opts)
	return nil
}

// recover reads the log, and takes up its tail.
func (v *Volume) recover() error {
	segs, err := openSegments(v.fsys, v.dir, v.desc)
	if err != nil {
		return err
	}
	v.log = log{salt: v.desc.Salt, epoch: v.opts.Epoch, free: segs, queue: newQueue(v.opts.Queue)}
	v.active = newGeneration(v.applied + 1)
	return v.readLogOf(segs)
}

// readLogOf reads the log in segs into the index, and goes on with it.
func (v *Volume) readLogOf(segs []*segment) error {
	r := &recovery{desc: v.desc, visit: func(_ *batchHeader, rec record) {
		if rec.lsn <= v.applied {
			return
		}
		if v.following && v.desc.History.reignAt(rec.lsn).From == rec.lsn && !v.active.isEmpty() {
			v.freeze(rec.pos) // as turnTo does
		}
		if v.begun > 0 && rec.lsn == v.begun+1 && !v.active.isEmpty() {
			v.freeze(rec.pos) // what was begun is folded again, and nothing besides
		}
		v.index(rec)
	}}
	if err := r.read(segs); err != nil {
		return err
	}
	return v.adopt(r, segs)
}

// adopt continues the log where recovery found its end.
func (v *Volume) adopt(r *recovery, segs []*segment) error {
	l := &v.log
	l.used, l.free = r.segs, nil
	l.last = r.next - 1
	if len(l.used) > 0 {
		l.next = uint64(r.end - l.current().at(0)) // a torn batch is written over
		l.held = heldBefore(l.used[0], segs, v.desc.History)
	}
	for _, s := range segs {
		l.seq = max(l.seq, s.seq)
		v.segments = max(v.segments, segmentNumber(s.name)+1)
		if !slices.Contains(r.segs, s) && !slices.Contains(l.held, s) {
			l.free = append(l.free, s)
		}
	}
	l.trim()
	return errors.Join(v.removeUnfinished(), v.wipeFree(), v.wipeBehind(r))
}

// wipeBehind takes away the headers of batches that stand behind the log's end. They
// are void, but a later lineage may have their epoch again: then what they claim to
// have been durable before them must not count.
func (v *Volume) wipeBehind(r *recovery) error {
	if len(r.stale) == 0 || seeded(leaveStale) {
		return nil
	}
	last := v.log.current()
	for _, at := range r.stale {
		if _, err := last.file.WriteAt(make([]byte, blockSize), last.offset(at)); err != nil {
			return fmt.Errorf("wipe log behind its end: %w", err)
		}
	}
	if err := last.file.Sync(); err != nil {
		return fmt.Errorf("wipe log behind its end: %w", err)
	}
	return nil
}

// wipeFree takes its header from every segment that is not kept. One that
// was begun after a torn batch may claim a first LSN that will be given out
// again: then it would be taken for the log's beginning.
func (v *Volume) wipeFree() error {
	for _, s := range v.log.free {
		if s.seq == 0 {
			continue
		}
		s.seq = 0
		if _, err := s.file.WriteAt(make([]byte, blockSize), 0); err != nil {
			return fmt.Errorf("wipe log segment: %w", err)
		}
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("wipe log segment: %w", err)
		}
	}
	return nil
}

// removeUnfinished removes what was being made when the power failed.
func (v *Volume) removeUnfinished() error {
	whole := v.log.free[:0:0]
	var err error
	for _, s := range v.log.free {
		if s.isWhole() {
			whole = append(whole, s)
		} else {
			err = errors.Join(err, s.remove(v.fsys))
		}
	}
	v.log.free = whole
	return err
}

func segmentNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".log"))
	if err != nil {
		return 0
	}
	return n
}

// syncUsed makes what was recovered durable.
func (v *Volume) syncUsed() error {
	for _, s := range v.log.used {
		// What was read may have come from the page cache of a machine that did
		// not fail, and not from its disk.
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("sync log: %w", err)
		}
	}
	v.log.durable, v.log.history = v.log.last, v.desc.History
	return nil
}

// oldestNeeded is the oldest record whose epoch may be asked for. The caller holds applying.
func (v *Volume) oldestNeeded() ballast.LSN {
	v.mu.RLock()
	defer v.mu.RUnlock()
	oldest := max(v.applied, 1) // by a snapshot
	if len(v.log.used) > 0 {
		oldest = min(oldest, v.log.used[0].first) // recovery reads whole segments
	}
	if len(v.log.held) > 0 {
		oldest = min(oldest, v.log.held[0].first)
	}
	return oldest
}

// begin makes the epoch the volume's own, before the first record can carry it.
func (v *Volume) begin() error {
	oldest := v.oldestNeeded()
	err := v.storeDescriptor(func(d *descriptor) {
		d.History, d.Promised = d.History.Next(v.opts.Epoch, v.log.last+1).trim(oldest), 0
	})
	if err != nil {
		return err
	}
	v.log.history, v.promised = v.desc.History, 0
	v.commitFound()
	if v.log.last > 0 {
		v.log.points.note(point{lsn: v.log.last, time: v.opts.Now(), size: v.size, end: v.log.end(), opened: true})
	}
	v.opts.Log.Info("volume opened", "volume", v.id, "epoch", uint64(v.opts.Epoch),
		"last_lsn", uint64(v.log.last), "applied_lsn", uint64(v.applied))
	return nil
}

// commitFound says of what recovery found how far it is committed: all of it when this
// node is alone, else what is in the image, until the other copies have the rest; and nothing
// of what came from one of them (R1).
func (v *Volume) commitFound() {
	if v.opts.Shipper == nil || seeded(commitRecovered) {
		v.committed = v.log.last
		return
	}
	if v.committed = v.applied; v.opts.Unsettled {
		v.committed = 0
	}
	v.opts.Shipper.Flush(v.log.last)
	v.opts.Shipper.Durable(v.log.last)
}

// abandon releases what a failed Open has opened so far.
func (v *Volume) abandon() error {
	err := errors.Join(closeSegments(v.log.held), closeSegments(v.log.used), closeSegments(v.log.free))
	if v.image != nil {
		err = errors.Join(err, v.image.Close())
	}
	if v.chunks != nil {
		err = errors.Join(err, v.chunks.file.Close())
	}
	return err
}

// Epoch is the fencing token the volume is open under.
func (v *Volume) Epoch() ballast.Epoch { return v.opts.Epoch }
