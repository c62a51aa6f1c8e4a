package archiver

import (
	"context"
	"log/slog"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Node is what the archiver needs of the node whose volumes it keeps. All of it is safe
// for concurrent use.
type Node struct {
	Name    ballast.NodeID
	DataDir string // everything the node keeps
	Disk    vfs.FS // likewise, through the seam
	Volumes string // the folder of the volumes' folders, below Disk
	Log     *slog.Logger

	Records Records
	Health  Health
	Quiet   Quiet
	Meters  Meters

	// Do has f run in a goroutine of the node, whose context it gets. It reports false when
	// the node is ending.
	Do func(f func(context.Context)) bool
}

// dir returns the folder of a volume, below Disk.
func (n Node) dir(id ballast.VolumeID) string { return n.Volumes + "/" + string(id) }

// Records is what the node knows of its volumes.
type Records interface {
	// ByID wraps [ballast.ErrNotFound] only where there is no such volume for sure.
	ByID(id ballast.VolumeID) (Volume, error)
	List() []Volume  // those outside of the trash
	Trash() []Volume // those in it
	// SetMarked notes, for every node, whether the archive may say that a volume was removed.
	SetMarked(ctx context.Context, id ballast.VolumeID, marked bool) error
}

// Volume is what the archiver needs of a volume's record.
type Volume struct {
	ID        ballast.VolumeID
	Name      string
	Spec      ballast.VolumeSpec
	Epoch     ballast.Epoch // of the latest attach; 0: never attached
	Origin    *tail.Origin  // what it was restored from; nil: it began empty
	RemovedAt time.Time     // set in the trash
	Purging   bool          // its files may be gone
	Marked    bool          // the archive may say that it was removed
}

// Health is told which conditions hold.
type Health interface {
	Raise(volume ballast.VolumeID, code, title, hint string)
	Clear(volume ballast.VolumeID, codes ...string)
}

// The conditions that the archiver raises.
const (
	CondArchive         = "archive-unavailable"
	CondArchiveLocal    = "archive-local"
	CondArchiveUnfenced = "archive-store-cannot-fence"
	CondBehind          = "archive-behind"
	CondFenced          = "archive-fenced"
	CondGap             = "archive-gap"
	CondHydration       = "hydration-waits" // cleared here; the node raises it, by its engines' answers
)

// Quiet logs a failure that repeats now and then.
type Quiet interface {
	Warn(key, message string, args ...any)
	Over(key string) // the failure that key tells from others has ended
}

// Meters counts what the node's metrics show.
type Meters interface {
	Shipped(bytes int64) // before compression
	ShipFailed()
	Fetched(bytes int64)
}

// Engine is the process that serves an attached volume.
type Engine interface {
	// Status wraps [engine.ErrNotRunning] when the process has ended.
	Status(ctx context.Context) (engine.Status, error)
	// Changes returns up to about limit bytes of what the durable records after an LSN
	// made of the volume; nil: there are none. It wraps [volume.ErrRecycled].
	Changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error)
	// Archived says that the archive has every record up to lsn.
	Archived(ctx context.Context, lsn ballast.LSN) error
	// Snapshot begins to read the volume as it is at one LSN: what changed behind since.
	Snapshot(ctx context.Context, since ballast.LSN) (Snapshot, error)
}

// Snapshot is a volume at one LSN. It must be closed.
type Snapshot interface {
	archive.BaseSource
	Close() error
}

// Keeps reports whether volumes of a class have a history in the archive.
func Keeps(class ballast.Class) bool {
	switch class {
	case ballast.Primary, ballast.Clustered:
		return true
	case ballast.Scratch, ballast.Cache:
	}
	return false
}
