package sim

// bug names a mistake in what is modelled here: in an engine, an agent or a receiver. The
// build tag seededbugs makes each of them possible; test/seeded shows that every one is
// found. Those of the decisions are in internal/replica.
type bug string

const (
	skipWaiting         bug = "skip-waiting"          // a flush is answered when it is durable here
	acknowledgeReceived bug = "acknowledge-received"  // a follower takes received for durable
	answerAfterLease    bug = "answer-after-lease"    // the gate does not look at the lease
	keepLapsedSession   bug = "keep-lapsed-session"   // a session that had run out goes on
	ignoreSession       bug = "ignore-session"        // the gate takes any session of its node for the one that it was confirmed in
	claimWithoutSession bug = "claim-without-session" // a claim does not look at the holder's session
	answerBeforeStored  bug = "answer-before-stored"  // a follower answers, and the epoch is not on its disk
	cutTooLittle        bug = "cut-too-little"        // a follower keeps a tail that its leader lacks
	foldBeyondCommitted bug = "fold-beyond-committed" // a follower folds all that it has
	stageInPlace        bug = "stage-in-place"        // chunks go straight into the image
	hollowAtLogEnd      bug = "hollow-at-log-end"     // a hollow copy begins behind records that its chunks lack
	prepareUnfenced     bug = "prepare-unfenced"      // a copy says where it ends to a hollow one, and goes on following the writer before
	fillFromAnyCopy     bug = "fill-from-any-copy"    // a hollow copy is filled from one that has not heard of its leader
)
