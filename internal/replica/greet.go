package replica

import (
	"github.com/ballast-io/ballast"
)

// Hello is what a writer says first, to whoever shall follow it.
type Hello struct {
	Node  ballast.NodeID // proven by its certificate
	Epoch ballast.Epoch
}

// Refusal is why a copy does not follow; Welcome is that it does.
type Refusal int

// The answers to a Hello.
const (
	Welcome   Refusal = iota
	Stale             // a higher epoch is stored here, or in the record: this writer is fenced off
	NotKnown          // the record here does not say so yet: look at etcd's, then ask again
	NotWriter         // under that epoch the record names somebody else
)

func (r Refusal) String() string {
	switch r {
	case Welcome:
		return "welcome"
	case Stale:
		return "a later writer was here"
	case NotKnown:
		return "the record does not say so yet"
	case NotWriter:
		return "the record names another writer"
	}
	return "unknown refusal"
}

// Greet is the follower's rule: it takes nothing of a lower epoch than the one it has
// stored, or than the record has, and nothing from a node that the record does not call
// the writer under that epoch (R4). record is the latest that this node has seen. Who is
// welcome is answered only after its epoch was stored, durably.
func Greet(stored ballast.Epoch, record Members, h Hello) Refusal {
	switch {
	case seeded(followLowerEpoch):
	case h.Epoch < stored || h.Epoch < record.Epoch:
		return Stale
	case h.Epoch > record.Epoch:
		return NotKnown
	case h.Node != record.Primary:
		return NotWriter
	}
	return Welcome
}

// Takes is the follower's rule for what comes in a stream that was welcome: another may have
// been since.
func Takes(stored, stream ballast.Epoch) bool { return stream >= stored || seeded(followLowerEpoch) }
