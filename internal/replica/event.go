package replica

import (
	"github.com/ballast-io/ballast"
)

// Event is something that the leader is told. It is one of the types in this file.
type Event interface{ event() }

// Appended says that the log here goes up to Last: written, not yet durable.
type Appended struct{ Last ballast.LSN }

// Durable says that the log here is durable up to LSN.
type Durable struct{ LSN ballast.LSN }

// Flushed says that somebody waits for LSN to be committed.
type Flushed struct{ LSN ballast.LSN }

// Connected says that a copy follows: it stored the epoch, and was cut. What it
// says it has, is the leader's own history.
type Connected struct {
	Node     ballast.NodeID
	Stream   uint64      // which connection: higher than any earlier one to that node
	Added    int64       // as in [Peer], when the connection was begun: that of an earlier copy there counts for nothing
	Durable  ballast.LSN // up to which its log is durable, after the cut
	Complete bool        // false: it is being filled with chunks, and then says Connected again, in the same stream
}

// Disconnected says that a stream ended, or that a connection could not be made.
type Disconnected struct {
	Node   ballast.NodeID
	Stream uint64 // as in Connected; what is not the node's present one changes nothing
	Reason Reason
	Epoch  ballast.Epoch // of StaleEpoch: the one that the copy has stored
}

// Acked says what a copy has of the stream. One that overtook another is no harm.
type Acked struct {
	Node     ballast.NodeID
	Stream   uint64
	Received ballast.LSN // the copy has it, perhaps not durable
	Durable  ballast.LSN
}

// MembersRead says what the volume's record says, from wherever: an older one than
// is known is passed over.
type MembersRead struct{ Members Members }

// ChangeFailed says that what was asked for was not done or, with Unknown, that
// nobody knows whether it was, or yet will be.
type ChangeFailed struct {
	Change  Change
	Unknown bool
}

// Complete says that this copy, hollow at first, has all its chunks.
type Complete struct{}

// Tick says that time went by. It is due every tenth of the patience.
type Tick struct{}

func (Appended) event()     {}
func (Durable) event()      {}
func (Flushed) event()      {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Acked) event()        {}
func (MembersRead) event()  {}
func (ChangeFailed) event() {}
func (Complete) event()     {}
func (Tick) event()         {}

// Effect is what the leader wants done. It is one of the types below.
type Effect interface{ effect() }

// Commit says that every required copy is durable up to LSN: whoever waits for it is
// answered, and it may be folded, here and where it is told (R1, R5).
type Commit struct{ LSN ballast.LSN }

// Ask wants the record changed. The answer is MembersRead, or ChangeFailed; until one of
// them comes nothing else is asked for.
type Ask struct{ Change Change }

// Fenced says that somebody else writes, or that the epoch is over: nothing is
// committed any more, for ever. It is the last effect.
type Fenced struct {
	Epoch  ballast.Epoch // the highest that was heard of
	Reason string        // a clause for a person
}

// Stalled says that writes have been waiting for the patience, and for what. It is
// said again only when the reason is another one.
type Stalled struct{ Reason string }

// Resumed says that nobody waits any longer.
type Resumed struct{}

func (Commit) effect()  {}
func (Ask) effect()     {}
func (Fenced) effect()  {}
func (Stalled) effect() {}
func (Resumed) effect() {}

// Reason is why a stream ended.
type Reason int

// The reasons.
const (
	Lost       Reason = iota // the connection broke, or could not be made
	NoRoom                   // the copy's disk is full, or its log
	Failed                   // the copy's disk failed, or its files are damaged
	StaleEpoch               // the copy follows a higher epoch
)

func (r Reason) String() string {
	switch r {
	case Lost:
		return "connection lost"
	case NoRoom:
		return "no room"
	case Failed:
		return "failed"
	case StaleEpoch:
		return "follows a higher epoch"
	}
	return "unknown reason"
}
