package replica

import (
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Position is where a leader's log stands.
type Position struct {
	Lineage volume.Lineage // with the epoch that it leads under
	Last    ballast.LSN
	Oldest  ballast.LSN // the first record that can be read from the log; Last+1 when there is none
}

// State is where a copy stands that is to follow, by its own word.
type State struct {
	Lineage  volume.Lineage
	Last     ballast.LSN // the end of its log, durable or not
	Applied  ballast.LSN // folded into its image
	Complete bool        // no chunk is missing
}

// Meeting is how a copy gets to have what its leader has.
//
// From the log: it cuts what is behind Cut, and is sent what follows Cut. With chunks: it
// stays as it is and where it is, under the leader's epoch, until they are all there.
type Meeting struct {
	FromLog bool
	Cut     ballast.LSN // from the log: the last record that both have
	Full    bool        // every chunk; else those that changed, on either side, since Since
	Since   ballast.LSN
}

// Meet decides how a copy gets to have what its leader has. A copy that has folded what
// its leader does not have cannot cut it any more (R5 keeps that from copies in sync); one that lacks chunks has
// no past that it could go on from (R6).
func Meet(leader Position, follower State) Meeting {
	if !follower.Complete {
		return Meeting{Full: true}
	}
	common, known := common(leader, follower)
	switch {
	case !known:
		return Meeting{Full: true}
	case common >= follower.Applied && common+1 >= leader.Oldest:
		return Meeting{FromLog: true, Cut: common}
	}
	// Its image is what chunks are laid over: what it has beyond that in its log does not count.
	return Meeting{Since: min(common, follower.Applied)}
}

// common returns the last record that two logs have in common, false when they do not
// reach back to where they were one. Under one epoch there was one writer, so logs that
// have records of the same epoch are the same up to where the first of them ends it (R8).
func common(a Position, b State) (ballast.LSN, bool) {
	if b.Last == 0 {
		return 0, true
	}
	for i, ours := range slices.Backward(a.Lineage) {
		for j, theirs := range slices.Backward(b.Lineage) {
			if ours.Epoch == theirs.Epoch {
				return min(end(a.Lineage, i, a.Last), end(b.Lineage, j, b.Last)), true
			}
		}
	}
	return 0, false
}

// end is the last record of a lineage's i-th epoch.
func end(l volume.Lineage, i int, last ballast.LSN) ballast.LSN {
	if i+1 < len(l) {
		return min(last, l[i+1].From-1)
	}
	return last
}
