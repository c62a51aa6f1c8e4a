package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// FollowerOptions say how to open a copy whose writer is elsewhere.
type FollowerOptions struct {
	// LogCapacity is how much disk space in bytes the log takes before it is folded;
	// 0 means 1 GiB. Records that are not committed cannot be folded, and may
	// take up to [overCapacity] times as much.
	LogCapacity int64
	// Queue is how many bytes of segments the log keeps beyond that, for others to
	// read when this copy leads; 0 keeps none.
	Queue int64
	// Log receives what an operator would want in the timeline of an incident; nil
	// discards it.
	Log *slog.Logger
	// Now labels what people read; nil is [time.Now]. Nothing is decided from it.
	Now func() time.Time
}

// Follower is a copy of a volume whose writer is elsewhere. Its files are a
// [Volume]'s: [Open] makes it the leader, under an epoch above all that it followed.
//
// It is safe for concurrent use and leaves no goroutine behind: who opens it also
// runs [Follower.Run].
type Follower struct {
	v *Volume // takes its records from here, and from no writer

	staging atomic.Pointer[Staging] // under way, if any

	appending sync.Mutex // held by who appends or cuts; taken before all locks of v
}

// FollowerState is where a copy stands.
type FollowerState struct {
	ID        ballast.VolumeID
	Size      int64         // bytes
	Epoch     ballast.Epoch // the highest that was followed or promised; lower ones are refused (R4)
	Lineage   Lineage       // of its records
	Last      ballast.LSN   // appended
	Durable   ballast.LSN   // on this disk
	Committed ballast.LSN   // as the leader said since this opening, or applied; not above Last
	Applied   ballast.LSN   // folded into the image; nothing up to here can be cut
	Complete  bool          // the image is the volume at Applied; else it is nothing yet
	Missing   int           // chunks that are still to come in the present staging
	Staged    int           // chunks of it that are here
	Err       error         // why nothing is accepted any more; nil: all is well
}

// CreateFollower makes a copy that has nothing yet, in the folder dir, which exists
// and is empty: it is at LSN 0 and incomplete, so that [Open] refuses it.
func CreateFollower(fsys vfs.FS, dir string, id Identity) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("create copy of volume %s: %w", id.ID, err)
	}
	d := &descriptor{Format: FormatVersion, ID: id.ID, Size: id.Size, Segment: defaultSegment, Salt: newSalt(random), Incomplete: true}
	return create(fsys, dir, d, func(*chunks) {})
}

// OpenFollower opens the volume in dir as a copy that follows. Its log may end
// with records that nobody acknowledged; [Follower.Follow] cuts them where the
// leader has others. Damage is a [*CorruptError] and changes nothing. The caller
// must Close the result, and should run [Follower.Run].
func OpenFollower(fsys vfs.FS, dir string, opts FollowerOptions) (_ *Follower, err error) {
	v := newVolume(fsys, dir, Options{LogCapacity: opts.LogCapacity, Queue: opts.Queue, Log: opts.Log, Now: opts.Now})
	v.following = true
	defer func() {
		if err != nil {
			err = fmt.Errorf("open copy of volume in %s: %w", dir, errors.Join(err, v.abandon()))
		}
	}()
	if err := v.openCopy(); err != nil {
		return nil, err
	}
	// What is committed beyond the image, only the leader knows (R5).
	v.committed = v.applied
	if seeded(commitOnReopen) {
		v.committed = v.log.last
	}
	v.opts.Log.Info("copy opened", "volume", v.id, "epoch", uint64(v.desc.epoch()),
		"last_lsn", uint64(v.log.last), "applied_lsn", uint64(v.applied), "complete", !v.desc.Incomplete)
	return &Follower{v: v}, nil
}

// ID returns the volume's identity.
func (f *Follower) ID() ballast.VolumeID { return f.v.id }

// State says where the copy stands.
func (f *Follower) State() FollowerState {
	v := f.v
	missing, staged := f.progress()
	v.mu.RLock()
	defer v.mu.RUnlock()
	return FollowerState{
		ID:        v.id,
		Size:      v.size,
		Epoch:     max(v.log.history.Epoch(), v.promised),
		Lineage:   v.log.history.upTo(^ballast.LSN(0)),
		Last:      v.log.last,
		Durable:   v.log.durable,
		Committed: min(v.committed, v.log.last),
		Applied:   v.applied,
		Complete:  v.isComplete(),
		Missing:   missing,
		Staged:    staged,
		Err:       v.err,
	}
}

// Resize grows the copy as [Volume.Resize] does. It must come before the first
// record that needs it.
func (f *Follower) Resize(size int64) error { return f.v.Resize(size) }

// Run keeps the copy in good shape in the background: the log folded into the image as
// far as it is committed, segments ready before they are needed. It returns nil when ctx
// ends, or the reason why the copy accepts nothing more.
func (f *Follower) Run(ctx context.Context) error { return f.v.Run(ctx) }

// Close syncs the copy and releases it. It is safe to call more than once. No other call
// may be under way.
func (f *Follower) Close() error {
	var err error
	if s := f.staging.Load(); s != nil {
		err = s.Close()
	}
	return errors.Join(err, f.v.Close())
}

// isComplete reports whether the image is the volume at the applied LSN. The caller holds mu.
func (v *Volume) isComplete() bool { return !v.incomplete && v.hydration.left.Load() == 0 }
