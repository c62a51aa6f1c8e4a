package replica

import (
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
	Since   ballast.LSN // never behind what the copy has folded; the point that they are of is not before it
}

// Meet decides how a copy gets to have what its leader has. A copy that has folded what
// its leader does not have cannot cut it any more (R5 keeps that from copies in sync); one that lacks chunks has
// no past that it could go on from (R6).
func Meet(leader Position, follower State) Meeting {
	if !follower.Complete {
		return Meeting{Full: true}
	}
	common, known := leader.Lineage.Common(leader.Last, follower.Lineage, follower.Last)
	switch {
	case seeded(meetByNumberAlone):
		common = min(leader.Last, follower.Last)
	case seeded(cutTooMuch) && common > 0:
		common--
	case seeded(cutOneLess):
		common = min(common+1, leader.Last, follower.Last)
	}
	switch {
	case !known:
		return Meeting{Full: true}
	case (common >= follower.Applied || seeded(cutWhatIsFolded)) && common+1 >= leader.Oldest:
		return Meeting{FromLog: true, Cut: common}
	}
	// Its image is what chunks are laid over: what it has beyond that in its log does not count.
	since := min(common, follower.Applied)
	if seeded(skipChunks) {
		since = max(since, min(common, leader.Oldest-1))
	}
	return Meeting{Since: since}
}

// Counts returns up to which LSN the chunks of a filling that broke off still count: one
// counts when the leader's latest change of it has that very LSN, and that is not
// behind this. staged and last are the lineage and the LSN that they were staged for.
func Counts(leader Position, staged volume.Lineage, last ballast.LSN) ballast.LSN {
	lsn, known := leader.Lineage.Common(leader.Last, staged, last)
	switch {
	case seeded(keepOldChunks):
		return last
	case !known:
		return 0
	}
	return lsn
}
