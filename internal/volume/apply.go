package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

const (
	foldBytes = 1 << 20  // how much of the image is written in one piece
	syncBytes = 16 << 20 // and how much before it is synced, lest the disk get it all at once
)

// errInterrupted ends a round before its end. What it did so far does no harm,
// and is done again.
var errInterrupted = errors.New("it was interrupted")

// pauser is told how many bytes were folded, and may wait or fail with
// errInterrupted.
type pauser func(folded int) error

// round folds the oldest generation into the image, in the order of blocks. The
// caller holds applying. It fails with a [*lackError] or an [*uncommittedError], and has
// done nothing, when chunks must be fetched, or other copies waited for, first.
//
// The order is what keeps V2 and V3: the generation is committed before the
// image is touched, the chunk table says durably what is about to change, the image is
// durable before the applied LSN moves, and the segments are let go last.
func (v *Volume) round(pause pauser) error {
	g := v.oldest()
	if g == nil {
		return nil
	}
	if err := v.mustBeCommitted(g.last); err != nil && !seeded(foldUncommitted) {
		return err
	}
	if err := v.cover(g); err != nil {
		return err
	}
	if err := v.announce(g); err != nil {
		return v.setback(fmt.Errorf("fold log into image: %w", err))
	}
	if err := v.fold(g, pause); err != nil {
		return v.setback(fmt.Errorf("fold log into image: %w", err))
	}
	v.hydration.uncover()
	if err := v.storeImage(); err != nil {
		return err
	}
	if err := v.storeDescriptor(func(d *descriptor) { d.Applied = g.last }); err != nil {
		return v.setback(err)
	}
	v.finishRound(g)
	return nil
}

// announce makes the chunk table say which chunks a generation changes, before the first
// of them does: an image that has a part of it says so after a crash as well. What
// was begun can only be finished; no leader can cut it any more.
func (v *Volume) announce(g *generation) error {
	for _, x := range g.zeros {
		v.changed(x, g.last)
	}
	for b := range g.blocks {
		v.chunks.changed(int(b/blocksPerChunk), g.last)
	}
	if !seeded(foldUnannounced) {
		if err := v.chunks.store(); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.begun = max(v.begun, g.last)
	return nil
}

// finishBegun makes the image the volume at an LSN, if a part of a generation is in it
// beyond lsn. The caller holds applying.
func (v *Volume) finishBegun(lsn ballast.LSN) error {
	for v.isPartly() && v.begun > lsn {
		if err := v.roundOnFull(fullSpeed); err != nil {
			return err
		}
	}
	return nil
}

// isPartly reports whether the image has a part of the oldest generation. The caller
// holds applying.
func (v *Volume) isPartly() bool { return v.begun > v.applied }

// oldest returns the generation to fold next, nil when all is folded. The
// active one is set aside when no other is left.
func (v *Volume) oldest() *generation {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.foldable() {
		return nil
	}
	if len(v.frozen) == 0 {
		v.freeze(v.log.tailPosition())
	}
	return v.frozen[0]
}

// foldable reports whether there is something to fold. A copy that follows can only wait
// to be told that more is committed (R5), which what it has begun to fold is. The caller holds mu.
func (v *Volume) foldable() bool {
	next := v.active
	if len(v.frozen) > 0 {
		next = v.frozen[0]
	}
	return !next.isEmpty() && (!v.following || next.last <= max(v.committed, v.begun) || seeded(foldBeyondCommitted))
}

// freezeIfAny is freeze, unless there is nothing to set aside. The caller holds mu.
func (v *Volume) freezeIfAny() {
	if !v.active.isEmpty() {
		v.freeze(v.log.tailPosition())
	}
}

// freeze sets the active generation aside. All records from now on stand at end
// in the log, or behind. The caller holds mu.
func (v *Volume) freeze(end position) {
	v.active.end = end
	v.frozen = append(v.frozen, v.active)
	v.active = newGeneration(v.active.last + 1)
}

func (v *Volume) finishRound(g *generation) {
	used, err := v.image.Allocated()
	v.counters.rounds.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		v.imageUsed = used
	}
	v.applied = g.last
	v.log.release(g.end)
	v.frozen = v.frozen[1:]
	v.fullSince = time.Time{}
}

// setback sorts a failure of the background's work: on a full disk nothing was
// claimed and it is tried again when there is room, an interruption means
// nothing, and anything else ends the volume.
func (v *Volume) setback(err error) error {
	if errors.Is(err, errInterrupted) {
		return err
	}
	if !isFull(err) {
		return v.poison(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fullSince.IsZero() {
		v.fullSince = time.Now()
		v.opts.Log.Warn("disk full, log is kept", "volume", v.id, "error", err)
	}
	return err
}

// fold brings the image to the end of a generation.
func (v *Volume) fold(g *generation, pause pauser) error {
	for _, x := range g.zeros {
		v.preserve(x)
		if err := v.image.Punch(int64(x.first)*blockSize, int64(x.end-x.first)*blockSize); err != nil {
			return err
		}
	}
	blocks := g.sorted()
	buf := make([]byte, foldBytes)
	for unsynced := 0; len(blocks) > 0; {
		n := runLength(blocks, len(buf)/blockSize)
		if err := v.foldRun(g, blocks[:n], buf[:n*blockSize]); err != nil {
			return err
		}
		if unsynced += n * blockSize; unsynced >= syncBytes {
			if err := v.syncImage(); err != nil {
				return err
			}
			unsynced = 0
		}
		if err := pause(n * blockSize); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// syncImage makes the image durable. Its failure is final (V6).
func (v *Volume) syncImage() error {
	if err := v.image.Sync(); err != nil && !seeded(ignoreImageSync) {
		return v.poison(fmt.Errorf("sync image: %w", err))
	}
	return nil
}

// runLength is how many of the first blocks follow one another, at most limit.
func runLength(blocks []ballast.Block, limit int) int {
	n := 1
	for n < min(len(blocks), limit) && blocks[n] == blocks[n-1]+1 {
		n++
	}
	return n
}

// foldRun copies blocks that follow one another from the log to the image.
func (v *Volume) foldRun(g *generation, blocks []ballast.Block, buf []byte) error {
	for done := 0; done < len(blocks); {
		pos := g.blocks[blocks[done]]
		n := 1
		for done+n < len(blocks) && g.blocks[blocks[done+n]] == pos+position(n) {
			n++
		}
		if err := v.readLog(buf[done*blockSize:(done+n)*blockSize], pos); err != nil {
			return err
		}
		done += n
	}
	x := extent{blocks[0], blocks[0] + ballast.Block(len(blocks))}
	v.preserve(x)
	_, err := v.image.WriteAt(buf, int64(blocks[0])*blockSize)
	return err
}

// readLog reads blocks of one record, which lie in one segment. No segment that
// a generation needs is let go while applying is held.
func (v *Volume) readLog(p []byte, pos position) error {
	v.mu.RLock()
	seg := v.log.segmentOf(pos)
	v.mu.RUnlock()
	return seg.readBlocks(p, pos)
}

func (v *Volume) changed(x extent, lsn ballast.LSN) {
	for c := x.first / blocksPerChunk; c*blocksPerChunk < x.end; c++ {
		v.chunks.changed(int(c), lsn)
	}
}

// fullSpeed never waits.
func fullSpeed(int) error { return nil }

// paced folds as slowly as the room that is left in the log allows, so that
// folding takes as little of the disk as it can from whoever uses the volume.
func (v *Volume) paced(ctx context.Context) pauser {
	return func(folded int) error {
		v.mu.RLock()
		rate := foldRate(v.logBytes(), v.opts.LogCapacity)
		v.mu.RUnlock()
		if ctx.Err() != nil || v.urgent.Load() > 0 {
			return errInterrupted
		}
		if rate == 0 {
			return nil
		}
		nap := time.NewTimer(time.Duration(int64(time.Second) * int64(folded) / rate))
		defer nap.Stop()
		select {
		case <-nap.C:
			return nil
		case <-ctx.Done():
			return errInterrupted
		}
	}
}
