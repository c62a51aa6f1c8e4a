package delta

import (
	"fmt"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// The limits of a delta. An engine that has more to say says it in several.
const (
	MaxGroups = 4096     // in a delta
	MaxRuns   = 1 << 16  // in a delta, of all its groups
	MaxData   = 64 << 20 // bytes in a delta, of all its groups
)

const maxVolumeID = 64 // bytes

// maxTime is the last moment that 64 bits of nanoseconds hold.
var maxTime = time.Unix(0, 1<<63-1)

// Validate returns a [ballast.ErrInvalid] that says what is wrong with d: a limit
// that it exceeds, or groups and runs that are out of order, overlap, are outside of
// the volume, or do not have the data that they should.
func (d *Delta) Validate() error {
	if err := d.checkFrame(); err != nil {
		return err
	}
	last, runs, data := d.After, 0, 0
	for i := range d.Groups {
		g := &d.Groups[i]
		if g.Last <= last {
			return invalid("group %d ends at LSN %d, behind which it should begin", i, last)
		}
		if err := g.Validate(); err != nil {
			return fmt.Errorf("group %d, to LSN %d: %w", i, g.Last, err)
		}
		last, runs, data = g.Last, runs+len(g.Runs), data+len(g.Data)
	}
	if runs > MaxRuns || data > MaxData {
		return invalid("%d runs with %d bytes; a delta has up to %d with %d", runs, data, MaxRuns, MaxData)
	}
	return nil
}

// checkFrame checks what is not in the groups.
func (d *Delta) checkFrame() error {
	switch {
	case !IsVolumeID(d.Volume):
		return invalid("%q is no volume id", d.Volume)
	case d.Epoch == 0:
		return invalid("epoch 0 writes no records")
	case len(d.Groups) == 0 || len(d.Groups) > MaxGroups:
		return invalid("%d groups; a delta has between 1 and %d", len(d.Groups), MaxGroups)
	}
	return nil
}

// IsVolumeID reports whether id has only the letters and digits that ids are made of, and
// so can be part of an object's name.
func IsVolumeID(id ballast.VolumeID) bool {
	return id != "" && len(id) <= maxVolumeID && !strings.ContainsFunc(string(id), func(r rune) bool {
		return ('a' > r || r > 'z') && ('0' > r || r > '9')
	})
}

// Validate returns a [ballast.ErrInvalid] that says what is wrong with g on its own.
func (g *Group) Validate() error {
	if err := g.ValidateShape(); err != nil {
		return err
	}
	if n := g.DataBlocks(); uint64(len(g.Data)) != n*ballast.BlockSize {
		return invalid("%d bytes of data for %d blocks", len(g.Data), n)
	}
	return nil
}

// ValidateShape is Validate for a group whose data are elsewhere.
func (g *Group) ValidateShape() error {
	switch {
	case g.Size <= 0 || g.Size > ballast.MaxVolumeSize || g.Size%ballast.BlockSize != 0:
		return invalid("no volume has %d bytes", g.Size)
	case g.IsPoint() && (!g.Time.After(time.Unix(0, 0)) || g.Time.After(maxTime)):
		return invalid("its time is out of range")
	case len(g.Runs) > MaxRuns:
		return invalid("%d runs; a delta has up to %d", len(g.Runs), MaxRuns)
	}
	free, end := ballast.Block(0), ballast.Block(g.Size/ballast.BlockSize)
	for i, r := range g.Runs {
		if r.Count == 0 || r.First < free || r.First >= end || r.Count > uint64(end-r.First) {
			return invalid("run %d, of %d blocks from %d on, is empty, out of order or outside of the volume", i, r.Count, r.First)
		}
		free = r.First + ballast.Block(r.Count)
	}
	return nil
}

// DataBlocks returns how many blocks of data the runs have. It does not overflow
// for runs that [Group.ValidateShape] accepts.
func (g *Group) DataBlocks() (n uint64) {
	for _, r := range g.Runs {
		if !r.Zero {
			n += r.Count
		}
	}
	return n
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w delta: %s", ballast.ErrInvalid, fmt.Sprintf(format, args...))
}
