package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// flushEvery is after how many new bytes what was written is indexed, so that work
// which is interrupted finds it again.
const flushEvery = 256 << 20

// SnapshotInfo says what a [BaseSource] is a snapshot of.
type SnapshotInfo struct {
	Volume ballast.VolumeID
	LSN    ballast.LSN
	Epoch  ballast.Epoch
	Size   int64       // bytes
	Time   time.Time   // a label
	Since  ballast.LSN // only chunks that changed behind this LSN come; 0: all that ever changed
}

// BaseSource is a volume at one LSN, as its engine hands it out.
type BaseSource interface {
	Info() SnapshotInfo
	// Next returns the next chunk that changed, in ascending order, and its bytes,
	// which stay valid until the call after; nil: it is all zeros. The last is
	// followed by [io.EOF].
	Next(ctx context.Context) (chunk int, data []byte, err error)
}

// Volume is what a base says of the volume, for people and for recovery.
type Volume struct {
	Name string
	Spec ballast.VolumeSpec
	Node string // that takes the base
}

// Progress is how far writing or reading a volume has come, in bytes of the volume.
type Progress struct {
	Done, Total int64
	Added       int64 // bytes that the archive did not have
}

// WriteBase writes a base snapshot. With a parent, only what changed since is read
// and written; src must begin at the parent's LSN or before it. Without one, a
// chunk that does not come is zeros; a volume that began as another one has to hand out
// all. It holds a lock on the repository and up to 64 MiB of memory. Work that
// is interrupted leaves what it stored, and is not done again (H3).
func (a *Archive) WriteBase(ctx context.Context, src BaseSource, v Volume, parent *Base, tags []string, report func(Progress)) (*Base, error) {
	base, err := a.writeBase(ctx, src, v, parent, tags, report)
	if err != nil {
		return nil, fmt.Errorf("write base snapshot of volume %q: %w", v.Name, err)
	}
	return base, nil
}

func (a *Archive) writeBase(ctx context.Context, src BaseSource, v Volume, parent *Base, tags []string, report func(Progress)) (_ *Base, err error) {
	info := src.Info()
	if err := errors.Join(CheckTags(tags), ballast.CheckVolumeName(v.Name), checkSize(info.Size), checkParent(info, parent)); err != nil {
		return nil, err
	}
	ctx, unlock, err := a.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	w := newBaseWriter(a.repo, src, report)
	defer func() { err = errors.Join(err, w.out.Close()) }()
	if w.below, err = a.below(ctx, w, parent); err != nil {
		return nil, err
	}
	base := &Base{
		Volume: info.Volume, Name: v.Name, Node: v.Node, Tags: tags,
		Point: tail.Point{Time: info.Time, LSN: info.LSN, Epoch: info.Epoch, Size: info.Size},
	}
	if base.Tree, err = w.write(ctx, base.manifest(v.Spec)); err != nil {
		return nil, err
	}
	base.Added = w.added.Load()
	// The snapshot is the last to be stored: whoever finds it finds the rest (H3).
	base.Snapshot, err = a.repo.SaveSnapshot(ctx, snapshotOf(base, a.program))
	return base, err
}

// checkParent checks that what src leaves out is in the parent.
func checkParent(info SnapshotInfo, parent *Base) error {
	switch {
	case parent == nil && info.Since == 0:
		return nil
	case parent == nil:
		return fmt.Errorf("it has only what changed behind LSN %d, and no parent has the rest: %w", info.Since, ballast.ErrInvalid)
	case parent.Volume != info.Volume:
		return fmt.Errorf("the parent is of volume %s: %w", parent.Volume, ballast.ErrInvalid)
	case parent.Point.LSN < info.Since || parent.Point.LSN > info.LSN || parent.Point.Epoch > info.Epoch || parent.Point.Size > info.Size:
		return fmt.Errorf("it has what changed between LSN %d and %d (%s); the parent is at %d (%s): %w",
			info.Since, info.LSN, info.Epoch, parent.Point.LSN, parent.Point.Epoch, ballast.ErrInvalid)
	}
	return nil
}

// lock takes a shared lock on the repository. The context that it returns ends
// when the lock is lost.
func (a *Archive) lock(ctx context.Context) (context.Context, func() error, error) {
	lock, err := a.repo.Lock(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-lock.Lost():
			cancel(repository.ErrLockLost)
		case <-held.Done():
		}
	}()
	return held, func() error {
		cancel(nil)
		<-done
		return lock.Close(context.WithoutCancel(ctx))
	}, nil
}
