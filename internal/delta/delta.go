// Package delta is what a stretch of a volume's log made of the volume: the
// blocks that it changed, cut into groups at the points that a restore can
// stop at. A block that was written several times within a group is there once.
//
// An engine makes deltas, an agent ships them to the archive, and a restore lays
// them over a base snapshot, in order. A Delta is a value without I/O; its
// encoding is what passes between an engine and its agent, of the same release.
package delta

import (
	"time"

	"github.com/ballast-io/ballast"
)

// Delta is a stretch of one epoch's records, as one writer wrote them.
type Delta struct {
	Volume ballast.VolumeID
	Epoch  ballast.Epoch // of all its records
	After  ballast.LSN   // it begins behind this record
	Groups []Group       // in order; never empty
}

// Group is the part of a delta that ends at one point.
type Group struct {
	Last ballast.LSN // its last record
	// Time is when Last was flushed; zero where that was no flush that a restore
	// can stop at. It is a label for people: nothing is decided from it.
	Time time.Time
	Size int64  // of the volume in bytes, at Last
	Runs []Run  // in the order of blocks; no two overlap
	Data []byte // of the runs that are not zeros, one after another
}

// Run is blocks that follow one another.
type Run struct {
	First ballast.Block
	Count uint64
	Zero  bool // discarded: they read as zeros and have no data
}

// Last returns the last record of the delta.
func (d *Delta) Last() ballast.LSN { return d.Groups[len(d.Groups)-1].Last }

// IsPoint reports whether a restore can stop at the end of the group.
func (g *Group) IsPoint() bool { return !g.Time.IsZero() }

// DataBytes returns the size of all data of the delta.
func (d *Delta) DataBytes() (n int64) {
	for _, g := range d.Groups {
		n += int64(len(g.Data))
	}
	return n
}
