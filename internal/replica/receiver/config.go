package receiver

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Copy is what a Receiver needs of a volume's files; a volume.Follower, adapted.
type Copy interface {
	State() volume.FollowerState
	Follow(epoch ballast.Epoch, lineage volume.Lineage, cut ballast.LSN) error
	Promise(epoch ballast.Epoch) error
	Append(b volume.Batch) error
	Sync() (durable ballast.LSN, err error)
	Commit(lsn ballast.LSN)
	Resize(size int64) error
	ReadChunk(ctx context.Context, chunk int, p []byte) error
	Changed(after ballast.LSN) []int
	Stage(to volume.StagePoint) (Staging, error)
	Run(ctx context.Context) error
	Close() error
}

// Staging is a copy on its way to another point.
type Staging interface {
	Expect(chunks int)
	Staged() iter.Seq2[int, ballast.LSN]
	Put(chunk int, lsn ballast.LSN, data []byte) error
	Finish() error
	Close() error
}

// Config says how a Receiver gets at copies.
type Config struct {
	Node    ballast.NodeID
	Cluster string // leaders of another one are refused; "": who connects has proven it is of this one
	// Open opens a volume's copy to follow, and makes an empty one of size bytes where
	// there is none; with size 0 that is [ballast.ErrNotFound]. [ballast.ErrInUse] says that
	// something else has the files.
	Open func(ctx context.Context, id ballast.VolumeID, size int64) (Copy, error)
	// Allow says whether node may stream the volume here under the epoch, by the volume's
	// record. [volume.ErrStaleEpoch] says that the record has a higher one, and
	// [ballast.ErrNotReady] that it has not come so far here yet.
	Allow    func(ctx context.Context, id ballast.VolumeID, node ballast.NodeID, epoch ballast.Epoch) error
	Log      *slog.Logger  // nil discards
	Patience time.Duration // for a leader that is not heard of; 0 means 3 s
	Idle     time.Duration // after which a copy that nothing happens to is closed; 0 means 1 min
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Patience <= 0 {
		c.Patience = 3 * time.Second
	}
	if c.Idle <= 0 {
		c.Idle = time.Minute
	}
	return c
}

// CopyStatus is where a copy on this node stands that follows, or did since the agent
// runs.
type CopyStatus struct {
	Volume    ballast.VolumeID `json:"volume"`
	Leader    ballast.NodeID   `json:"leader,omitempty"`  // that streams to it now
	Epoch     ballast.Epoch    `json:"epoch"`             // the highest that it has heard of
	Lineage   volume.Lineage   `json:"lineage,omitempty"` // of its records
	Last      ballast.LSN      `json:"last"`
	Durable   ballast.LSN      `json:"durable"`
	Committed ballast.LSN      `json:"committed"`
	Applied   ballast.LSN      `json:"applied"`
	Complete  bool             `json:"complete"`
	Progress  float64          `json:"progress,omitempty"` // of chunks that are being received, from 0 to 1
	Since     time.Time        `json:"since"`              // the stream came, or went: a label for people
	Err       string           `json:"error,omitempty"`    // why the latest stream ended
}

// Point is where a copy ends that another node is to go on from.
type Point struct {
	LSN     ballast.LSN
	Size    int64
	Lineage volume.Lineage
}
