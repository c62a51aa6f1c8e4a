package volume

import (
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
)

type counters struct {
	reads, writes, flushes, discards atomic.Uint64
	readBytes, writtenBytes          atomic.Uint64
	rounds                           atomic.Uint64
}

// Stats is what a volume says of itself at one moment. Counts are since it was
// opened; sizes are in bytes.
type Stats struct {
	Size        int64
	Epoch       ballast.Epoch
	Last        ballast.LSN // appended
	Durable     ballast.LSN // on this node's disk
	Committed   ballast.LSN // on every in-sync replica's disk
	Applied     ballast.LSN // folded into the image
	LogBytes    int64       // disk space of segments that are needed
	LogCapacity int64
	QueueBytes  int64       // disk space of segments that only the archive needs
	Waiting     int64       // bytes of the log behind the newest flush that is archived
	Archived    ballast.LSN // in the archive, as far as it has said
	Recycled    ballast.LSN // the last record that the log no longer holds; above Archived, the archive has a gap
	QueueSince  time.Time   // of the oldest flush that is not archived; zero: all are
	ImageBytes  int64       // disk space of the image, as of the last round of apply
	Reads       uint64
	Writes      uint64
	Flushes     uint64
	Discards    uint64
	ReadBytes   uint64
	Written     uint64    // bytes
	Rounds      uint64    // of apply
	FullSince   time.Time // the disk has been full since then; zero: it is not
	Err         error     // why nothing is accepted any more; nil: all is well

	TotalChunks       int
	MissingChunks     int       // that are still to be fetched
	FetchErr          error     // why the last fetch failed; nil: it did not
	FetchFailingSince time.Time // zero: it works, or was not tried
}

// Stats returns the volume's present state.
func (v *Volume) Stats() Stats {
	v.mu.RLock()
	defer v.mu.RUnlock()
	failing, failure := v.hydration.state()
	return Stats{
		Size:        v.size,
		Epoch:       v.opts.Epoch,
		Last:        v.log.last,
		Durable:     v.log.durable,
		Committed:   v.committed,
		Applied:     v.applied,
		LogBytes:    v.logBytes(),
		LogCapacity: v.opts.LogCapacity,
		QueueBytes:  v.log.queueBytes(),
		Waiting:     v.log.waiting(),
		Archived:    v.log.archived,
		Recycled:    v.log.recycled(),
		QueueSince:  v.log.points.oldest(),
		ImageBytes:  v.imageUsed,
		Reads:       v.counters.reads.Load(),
		Writes:      v.counters.writes.Load(),
		Flushes:     v.counters.flushes.Load(),
		Discards:    v.counters.discards.Load(),
		ReadBytes:   v.counters.readBytes.Load(),
		Written:     v.counters.writtenBytes.Load(),
		Rounds:      v.counters.rounds.Load(),
		FullSince:   v.fullSince,
		Err:         v.err,

		TotalChunks:       int(v.size / ballast.ChunkSize),
		MissingChunks:     int(v.hydration.left.Load()),
		FetchErr:          failure,
		FetchFailingSince: failing,
	}
}

// logBytes is the size of the segments that are needed. The caller holds mu.
func (v *Volume) logBytes() int64 {
	return int64(len(v.log.used)) * v.segmentSize
}
