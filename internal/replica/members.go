package replica

import "github.com/ballast-io/ballast"

// Peer is another node with a copy, and where its agent listens.
type Peer struct {
	Node    ballast.NodeID `json:"node"`
	Address string         `json:"address"` // host:port

	// Added tells this copy from an earlier one on that node, which was given up and may be
	// deleted: it is the revision over which the copy was placed there, 0 for a first one.
	Added int64 `json:"added,omitempty"`
}

// Members is what a volume's record says of its copies, as the agent tells it to
// the engine. It is a value: what it points at must not be changed.
type Members struct {
	Revision  int64            `json:"revision"` // of the record; a later one is higher
	Epoch     ballast.Epoch    `json:"epoch"`
	Primary   ballast.NodeID   `json:"primary"`
	InSync    []ballast.NodeID `json:"in_sync"`
	Copies    []Peer           `json:"copies"`     // of other nodes, in sync or not
	MinCopies int              `json:"min_copies"` // in-sync copies below which writes wait; at least 1
	Session   uint64           `json:"session"`    // of the node's lease that confirms all this; 0: there is no lease
}

// Change is what the leader asks the record to be changed by: one of the two is set.
//
// It is made over the very revision that it was decided on, or fails: one that is still
// under way when its outcome was given up then comes to nothing, as soon as the
// record has a higher revision, and only then (R2).
type Change struct {
	Epoch    ballast.Epoch  `json:"epoch"`
	Revision int64          `json:"revision"` // of the record that it was decided on
	Add      ballast.NodeID `json:"add,omitempty"`
	Remove   ballast.NodeID `json:"remove,omitempty"`
	Lost     bool           `json:"lost,omitempty"`   // the copy to be removed has not what it had: min_copies does not keep it
	Reason   string         `json:"reason,omitempty"` // for the timeline
}

// Request is a Change as an engine sends it to its agent, with what it knows of the history.
type Request struct {
	Change
	Branch Branch `json:"branch"`
}
