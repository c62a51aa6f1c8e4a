package replica

// bug names a mistake in these decisions by which data is lost. The build tag
// seededbugs makes each of them possible; test/seeded shows that the simulation, the model
// or a test finds every one.
type bug string

const (
	oneIsEnough          bug = "one-is-enough"           // a flush is answered when one of the in-sync copies has it
	ignoreOwnDisk        bug = "ignore-own-disk"         // a flush is answered that is durable elsewhere only
	requireOnceRecorded  bug = "require-once-recorded"   // a copy counts from when the record says so, not from the asking
	forgetOnceAsked      bug = "forget-once-asked"       // a copy does not count any more once its removal was asked for
	readingEndsDoubt     bug = "reading-ends-doubt"      // the record was read, so what was asked for was not done
	unknownIsNo          bug = "unknown-is-no"           // a swap whose answer was lost is taken for not done
	cutTooMuch           bug = "cut-too-much"            // one record that both have is cut
	addEarly             bug = "add-early"               // a copy is added that lacks the latest batch
	addBehindOpening     bug = "add-behind-opening"      // what an earlier writer acknowledged is not waited for
	countEarlierCopy     bug = "count-earlier-copy"      // what a copy said before it was given up counts for the one placed there again
	removeLast           bug = "remove-last"             // the last in-sync copy is removed
	removeBelowMinCopies bug = "remove-below-min-copies" // a copy is removed that min_copies wants
	followLowerEpoch     bug = "follow-lower-epoch"      // a follower takes what a fenced writer sends
	meetByNumberAlone    bug = "meet-by-number-alone"    // records of the same LSN are taken for the same
	cutOneLess           bug = "cut-one-less"            // one record that the leader lacks is kept
	cutWhatIsFolded      bug = "cut-what-is-folded"      // what an image holds is taken for cut
	skipChunks           bug = "skip-chunks"             // chunks that changed in the last records before the log's beginning are not sent
	keepOldChunks        bug = "keep-old-chunks"         // chunks of a filling that broke off count in any history
	fillInSync           bug = "fill-in-sync"            // a copy that lost its disk is filled while it is in sync
	commitWhenFenced     bug = "commit-when-fenced"      // a writer goes on when another one has claimed
	chooseLongest        bug = "choose-longest"          // a forced failover takes the longest log, of whatever epoch
	chooseSetAside       bug = "choose-set-aside"        // a forced failover goes back to what an earlier one set aside
)
