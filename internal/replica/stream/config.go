package stream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

// RingSize is how many bytes of frames are kept in memory for peers at most.
const RingSize = 8 << 20

// Errors of [Hub.Committed].
var (
	ErrFenced = errors.New("fenced off: the volume has a later writer")
	ErrEnded  = errors.New("the streams to the volume's copies were ended")
)

// Log is what a Hub needs of an open volume; an open volume.Volume, adapted.
type Log interface {
	ID() ballast.VolumeID
	Epoch() ballast.Epoch
	Size() int64
	Lineage() volume.Lineage
	Position() (last, durable, applied ballast.LSN)
	ReadLog(after ballast.LSN, limit int64) ([]volume.Batch, error)
	Keep(reader string, after ballast.LSN)
	Forget(reader string)
	// Spare says whether the log keeps more than that for a reader that is there and reads.
	Spare(reader string, spare bool)
	// Pressure says how much of what the log keeps for readers is taken by records behind
	// after: from 1 on the oldest of them are let go.
	Pressure(after ballast.LSN) float64
	// SnapshotOf begins a snapshot of the chunks that changed after what changedAfter
	// says of each; it is asked once for every chunk. It is of a committed record, and waits for no copy.
	SnapshotOf(ctx context.Context, changedAfter func(chunk int) ballast.LSN) (Snapshot, error)
}

// Snapshot is a volume at one LSN, chunk by chunk.
type Snapshot interface {
	LSN() ballast.LSN
	Size() int64
	// Next returns the next chunk in ascending order, the LSN of its last change, and
	// whether it is all zeros; p has room for one. At the end the error is io.EOF.
	Next(p []byte) (chunk int, changed ballast.LSN, zero bool, err error)
	Left() int // how many chunks are still to come
	Close() error
}

// Control changes the volume's record by compare-and-swap, through the node's agent.
type Control interface {
	// Change returns the record as it is then. An error that wraps
	// [ballast.ErrInvalid], [ballast.ErrNotFound] or [ballast.ErrInUse] says that nothing was
	// changed and nothing will be; after any other nobody knows.
	Change(ctx context.Context, c replica.Change) (replica.Members, error)
}

// Config says how a Hub carries a volume's log.
type Config struct {
	Node    ballast.NodeID
	Cluster string // its name or id: a peer of another one refuses
	Members replica.Members
	Hollow  bool // this copy lacks chunks until [Hub.Complete]
	// Dial connects to a peer's receiver. The connection is with that node, proven.
	Dial     func(ctx context.Context, p replica.Peer) (net.Conn, error)
	Control  Control
	Log      *slog.Logger  // nil discards
	Rate     int64         // bytes a second for each peer that catches up; 0: what the disk and the foreground leave
	Patience time.Duration // for a peer that does not answer; 0 means 3 s
	// OnStall hears why writes wait, and "" when they no longer do; nil: nobody. It must not block.
	OnStall func(reason string)
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Patience <= 0 {
		c.Patience = 3 * time.Second
	}
	if c.OnStall == nil {
		c.OnStall = func(string) {}
	}
	return c
}

// State is what the stream to a peer is doing.
type State string

// The states of a stream.
const (
	Connecting State = "connecting" // not connected: Err says why, if it is known
	CatchingUp State = "catching-up"
	Staging    State = "staging" // it gets chunks
	Streaming  State = "streaming"
)

// PeerStatus is where a copy on another node stands.
type PeerStatus struct {
	Node     ballast.NodeID `json:"node"`
	State    State          `json:"state"`
	Received ballast.LSN    `json:"received"`
	Durable  ballast.LSN    `json:"durable"`
	LagBytes int64          `json:"lag_bytes"`          // of records that are not durable there, estimated
	Progress float64        `json:"progress,omitempty"` // of Staging, from 0 to 1
	Since    time.Time      `json:"since"`              // of State: a label for people
	Err      string         `json:"error,omitempty"`    // of the latest attempt
}
