package volume

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	skipLogSync           bug = "skip-log-sync"           // a flush that does not sync
	acknowledgeEarly      bug = "acknowledge-early"       // written is taken for durable
	retryFailedSync       bug = "retry-failed-sync"       // the second sync succeeds over lost data
	reorderAcrossSegments bug = "reorder-across-segments" // a segment is synced, the one before is not
	skipDirSync           bug = "skip-dir-sync"           // a new file that a power cut takes away
	acceptTornRecord      bug = "accept-torn-record"      // recovery does not look at checksums
	ignoreLastSegment     bug = "ignore-last-segment"     // recovery ends with the last segment but one
	acceptOldEpoch        bug = "accept-old-epoch"        // what was cut off comes back
	recycleEarly          bug = "recycle-early"           // a segment is used anew that is still needed
	ignoreImageSync       bug = "ignore-image-sync"       // applied moves although the image's sync failed
	foldUncommitted       bug = "fold-uncommitted"        // the image is written before the log is durable
	foldUnannounced       bug = "fold-unannounced"        // a crash in the middle of a round leaves what nobody knows of in the image
	coverPartly           bug = "cover-partly"            // what a write leaves of a chunk that is missing is taken for zeros
	presentBeforeSync     bug = "present-before-sync"     // a chunk that was fetched is taken for durable
	skipReplicas          bug = "skip-replicas"           // a flush that does not wait for the other copies
	commitRecovered       bug = "commit-recovered"        // what an opening found is folded before the other copies have it
	acceptLowerEpoch      bug = "accept-lower-epoch"      // a copy follows the leader before
	forgetEpoch           bug = "forget-epoch"            // a promise that a power cut takes away
	foldBeyondCommitted   bug = "fold-beyond-committed"   // a copy's image has what its next leader cuts
	commitOnReopen        bug = "commit-on-reopen"        // a copy takes all that it has for committed
	keepCutRecords        bug = "keep-cut-records"        // a copy goes on behind records that were cut
	leaveStale            bug = "leave-stale"             // batches behind the log's end stay, and bear witness
	skipBatchSum          bug = "skip-batch-sum"          // a copy takes what was damaged on its way
	ignoreGap             bug = "ignore-gap"              // a copy appends what does not follow
	skipFollowerSync      bug = "skip-follower-sync"      // a copy acknowledges what it did not sync
	stagedBeforeSync      bug = "staged-before-sync"      // a chunk is taken for staged that a power cut takes away
	keepStaged            bug = "keep-staged"             // a chunk staged of another history is taken for current
	mergeUncovered        bug = "merge-uncovered"         // a copy that has diverged keeps chunks of its own
	mergeUnmarked         bug = "merge-unmarked"          // the image is changed before anything says so
	mergeUnsynced         bug = "merge-unsynced"          // a staged chunk goes that is not durable in the image
	preserveOne           bug = "preserve-one"            // of two snapshots one loses what a round overwrites
	skipWipe              bug = "skip-wipe"               // a first copy goes on in an image that has chunks of another history
	forgetMerge           bug = "forget-merge"            // a merge that a crash interrupted does not go on
	keepOwnLSN            bug = "keep-own-lsn"            // the chunk table does not say when the leader changed a chunk
	rebuildZeroFills      bug = "rebuild-zero-fills"      // a rebuild reads zeros around a write that is smaller than a chunk
	overwriteUnsaved      bug = "overwrite-unsaved"       // a snapshot that is being read loses what a round overwrites
)
