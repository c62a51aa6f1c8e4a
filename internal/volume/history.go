package volume

import "github.com/ballast-io/ballast"

// history says under which epoch each record was written. A record of another
// epoch than the history has for its LSN was cut off by a later opening: it may
// still stand in a segment, and is void.
type history []reign

// reign is the time of one epoch: from its first LSN to that of the next.
type reign struct {
	Epoch ballast.Epoch `json:"epoch"`
	From  ballast.LSN   `json:"from"`
}

// epochAt returns the epoch that record lsn was written under, 0 if none.
func (h history) epochAt(lsn ballast.LSN) ballast.Epoch {
	var epoch ballast.Epoch
	for _, r := range h {
		if r.From <= lsn {
			epoch = r.Epoch
		}
	}
	return epoch
}

// endOfReign returns the last record of the epoch that wrote record lsn; no
// record is behind last.
func (h history) endOfReign(lsn, last ballast.LSN) ballast.LSN {
	for _, r := range h {
		if r.From > lsn {
			return min(last, r.From-1)
		}
	}
	return last
}

// begin returns the history with a new epoch from lsn on, and without what no
// record from oldest on needs.
func (h history) begin(epoch ballast.Epoch, lsn, oldest ballast.LSN) history {
	var next history
	for i, r := range h {
		over := i+1 < len(h) && h[i+1].From <= oldest
		if !over && r.From < lsn {
			next = append(next, r)
		}
	}
	return append(next, reign{epoch, lsn})
}

// valid reports whether epochs and LSNs only grow.
func (h history) valid() bool {
	for i, r := range h {
		if r.Epoch == 0 || r.From == 0 || i > 0 && (r.Epoch <= h[i-1].Epoch || r.From <= h[i-1].From) {
			return false
		}
	}
	return true
}
