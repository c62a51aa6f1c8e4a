package volume

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// Follow makes the copy one that follows the leader of epoch, and is durable before it
// returns (R4). The lineage is the leader's, and its last reign that epoch's. Records
// behind cut, which is at most the last one, are void from then on and never come back.
//
// The error is [ErrStaleEpoch] when a higher epoch is followed or promised, and
// [ErrDiverged] when records behind cut are in the image already, or the lineage has
// another record at cut: the epoch is promised then, and the copy must be brought to
// the leader's state in chunks. [ballast.ErrInvalid] is what makes no sense.
func (f *Follower) Follow(epoch ballast.Epoch, lineage Lineage, cut ballast.LSN) error {
	f.appending.Lock()
	defer f.appending.Unlock()
	if err := f.v.follow(epoch, lineage, cut); err != nil {
		return fmt.Errorf("let copy of volume %s follow %v from LSN %d on: %w", f.v.id, epoch, cut, err)
	}
	return nil
}

// Promise stores an epoch before the copy knows its lineage: nothing of a lower one
// is taken from then on (R4), else the error is [ErrStaleEpoch].
func (f *Follower) Promise(epoch ballast.Epoch) error {
	defer f.v.interrupt()()
	if err := f.v.promise(epoch); err != nil {
		return fmt.Errorf("promise %v for volume %s: %w", epoch, f.v.id, err)
	}
	return nil
}

// promise stores an epoch. The caller holds applying.
func (v *Volume) promise(epoch ballast.Epoch) error {
	if err := v.refuse(epoch); err != nil || epoch <= v.desc.epoch() {
		return err
	}
	if err := v.storeDescriptor(func(d *descriptor) { d.Promised = epoch }); err != nil {
		return v.setback(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.promised = epoch
	return nil
}

// interrupt takes applying from a round that is under way in the background, and that may
// take its time: a new leader waits. Release gives it back.
func (v *Volume) interrupt() (release func()) {
	v.urgent.Add(1)
	v.applying.Lock()
	v.urgent.Add(-1)
	return v.applying.Unlock
}

// refuse says why nothing is taken of an epoch. The caller holds applying.
func (v *Volume) refuse(epoch ballast.Epoch) error {
	stored := v.desc.epoch()
	if epoch < stored && !seeded(acceptLowerEpoch) {
		return fmt.Errorf("%w: this copy follows %v", ErrStaleEpoch, stored)
	}
	return v.Err()
}

// follow is Follow. The caller holds appending, so that no record comes between.
func (v *Volume) follow(epoch ballast.Epoch, lineage Lineage, cut ballast.LSN) error {
	defer v.interrupt()()
	if err := v.refuse(epoch); err != nil {
		return err
	}
	if !lineage.valid() || lineage.Epoch() != epoch {
		return fmt.Errorf("%w: the lineage is not one of %v", ballast.ErrInvalid, epoch)
	}
	if v.desc.Merging != 0 {
		return fmt.Errorf("%w: it is being brought to another point", ballast.ErrNotReady)
	}
	if err := v.finishBegun(cut); err != nil {
		return err
	}
	if err := v.mayCut(lineage, cut); err != nil {
		return errors.Join(err, v.promise(epoch))
	}
	v.making.Lock()
	defer v.making.Unlock()
	v.writing.Lock()
	defer v.writing.Unlock()
	next := v.desc.History.graft(lineage, cut).trim(v.oldestNeeded())
	if slices.Equal(next, v.desc.History) {
		return nil // the same leader, once more
	}
	return v.turnTo(next, cut)
}

// mayCut reports whether the log can be cut behind a record and go on with what a
// leader has. The caller holds applying.
func (v *Volume) mayCut(lineage Lineage, cut ballast.LSN) error {
	mine := v.desc.History
	v.mu.RLock()
	last := v.log.last
	v.mu.RUnlock()
	switch {
	case cut > last:
		return fmt.Errorf("%w: there is no record %d to cut behind, the last one is %d", ballast.ErrInvalid, cut, last)
	case v.applied > cut:
		return fmt.Errorf("%w: records up to %d are in the image", ErrDiverged, v.applied)
	case cut > 0 && (mine.epochAt(cut) == 0 || mine.epochAt(cut) != lineage.epochAt(cut)):
		return fmt.Errorf("%w: record %d is of %v here, and of %v there", ErrDiverged, cut, mine.epochAt(cut), lineage.epochAt(cut))
	case cut < last && mine.epochAt(cut+1) == lineage.epochAt(cut+1):
		return fmt.Errorf("%w: record %d is of %v here and there, and cannot be void", ballast.ErrInvalid, cut+1, mine.epochAt(cut+1))
	}
	return nil
}

// graft returns the lineage up to cut, and from there on the other, which has the
// same record there.
func (l Lineage) graft(other Lineage, cut ballast.LSN) Lineage {
	next := l.upTo(cut)
	for _, r := range other {
		if r.From > cut || len(next) == 0 {
			next = append(next, r)
		}
	}
	return next
}

// turnTo makes a lineage the copy's own, durably, and cuts what is void by it. The
// caller holds applying, making and writing.
func (v *Volume) turnTo(lineage Lineage, cut ballast.LSN) error {
	v.mu.Lock()
	cuts := cut < v.log.last && !seeded(keepCutRecords)
	v.freezeIfAny() // what was here before can be read apart from what comes; see ReadChunk
	v.log.durable = min(v.log.durable, cut)
	v.committed = min(v.committed, cut) // if the leader was forced, less is committed than was
	v.mu.Unlock()
	if err := v.storeLineage(lineage); err != nil {
		return v.poison(err) // which lineage counts after a crash is not known
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.history, v.promised = lineage, 0
	v.log.turns++
	if !cuts {
		return nil
	}
	v.opts.Log.Info("records cut that were not committed", "volume", v.id, "from_lsn", uint64(cut+1), "last_lsn", uint64(v.log.last))
	if err := v.reread(cut); err != nil {
		return v.poisonLocked(fmt.Errorf("read the log again behind a cut: %w", err))
	}
	return nil
}

func (v *Volume) storeLineage(lineage Lineage) error {
	change := func(d *descriptor) { d.History, d.Promised = lineage, 0 }
	if seeded(forgetEpoch) {
		change(v.desc)
		return nil
	}
	return v.storeDescriptor(change)
}

// reread builds log and index anew from what is on disk, as an opening does. The
// caller holds all locks: it is rare, and whoever asks meanwhile has to wait.
func (v *Volume) reread(cut ballast.LSN) error {
	l := &v.log
	segs := slices.Concat(l.held, l.used, l.free)
	l.held, l.used, l.free = nil, nil, segs
	l.next, l.tail, l.ready = 0, nil, nil
	v.frozen, v.active = nil, newGeneration(v.applied+1)
	if err := v.readLogOf(segs); err != nil {
		return err
	}
	if l.last != cut {
		return fmt.Errorf("the log ends at LSN %d, and not at %d", l.last, cut)
	}
	l.dirty = nil
	if len(l.used) > 0 {
		l.dirty = l.current() // what is left of it may not have been synced
	}
	return nil
}
