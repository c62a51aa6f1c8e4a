package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/volume"
)

// restoreRequest asks for a volume as it was at a moment.
type restoreRequest struct {
	name    string // of the volume, or in the trash its id
	moment  moment
	as      string            // the name of the new volume
	inPlace bool              // it takes the old one's place and name instead
	options map[string]string // of the new volume, beyond the old one's
	asked   string            // the option from
	dryRun  bool
}

func (r restoreRequest) check() error {
	switch {
	case r.inPlace && r.as != "":
		return fmt.Errorf("a volume is restored in place or under another name, not both: %w", ballast.ErrInvalid)
	case r.inPlace:
		return nil
	case r.as == "":
		return fmt.Errorf("say under which name the volume shall be restored, or to restore it in place: %w", ballast.ErrInvalid)
	}
	return ballast.CheckVolumeName(r.as)
}

// restored is what came of it.
type restored struct {
	volume volumeView // zero in a dry run
	point  tail.Point
	plan   []string
	bytes  int64 // to be fetched in all
}

// RestoreAt makes a volume that is as another one was at a moment. It can be attached at
// once, and fills in behind.
func (n *node) RestoreAt(ctx context.Context, r restoreRequest) (restored, error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	out, err := n.restoreAt(ctx, r)
	if err != nil {
		return restored{}, fmt.Errorf("restore volume %q: %w", r.name, err)
	}
	return out, nil
}

func (n *node) restoreAt(ctx context.Context, r restoreRequest) (restored, error) {
	if err := r.check(); err != nil {
		return restored{}, err
	}
	rec, err := n.findEvenRemoved(r.name)
	if err != nil {
		return restored{}, err
	}
	if !n.cfg.archives() || !archiver.Keeps(rec.Spec.Class) {
		return restored{}, fmt.Errorf("volumes of class %s have no history in the archive: %w", rec.Spec.Class, ballast.ErrInvalid)
	}
	spec, err := specFrom(rec.Spec, r.options)
	if err != nil {
		return restored{}, err
	}
	o, err := n.vault.Wait(ctx)
	if err != nil {
		return restored{}, err
	}
	release, err := n.keeper.Reading(ctx)
	if err != nil {
		return restored{}, err
	}
	defer release()
	src, err := n.findPoint(ctx, o, archivedVolume(rec), r.moment)
	if err != nil {
		return restored{}, err
	}
	out := restored{point: src.Point(), plan: src.Plan().Lines(), bytes: src.FetchBytes()}
	out.plan = append(out.plan, n.restoreLines(r, rec, out)...)
	if r.dryRun {
		return out, nil
	}
	made := n.recordFor(r, rec, spec, src.Plan())
	if made, err = n.bringBack(ctx, o, r, rec, made, src); err != nil {
		return restored{}, err
	}
	n.log.Info("restored volume from the archive", "volume", made.Name, "volume_id", made.ID, "origin", made.Origin.String(), "lsn", uint64(out.point.LSN), "fetch_bytes", out.bytes)
	out.volume = n.look(made)
	return out, nil
}

// findEvenRemoved finds a volume by name or, in the trash, by id too.
func (n *node) findEvenRemoved(nameOrID string) (cluster.Record, error) {
	rec, err := n.records.Get(nameOrID)
	if !errors.Is(err, ballast.ErrNotFound) {
		return rec, err
	}
	for _, t := range n.records.Trash() {
		if string(t.ID) == nameOrID {
			return t, nil
		}
	}
	return rec, err
}

// restoreLines says what will be done besides, for people.
func (n *node) restoreLines(r restoreRequest, rec cluster.Record, out restored) []string {
	line := fmt.Sprintf("make volume %q of it; it can be used at once, and fetches %d MiB, what is touched first", r.as, out.bytes>>20)
	if !r.inPlace {
		return []string{line}
	}
	return []string{
		fmt.Sprintf("move volume %q as it is to the trash: `ballast volume restore %s --as NAME` takes it back within %s", rec.Name, rec.ID, n.cfg.TrashKeep),
		fmt.Sprintf("make volume %q of it; it can be used at once, and fetches %d MiB, what is touched first", rec.Name, out.bytes>>20),
	}
}

// findPoint opens the volume's moment in the archive. The newest is now: what was written
// and not archived yet is archived first.
func (n *node) findPoint(ctx context.Context, o *archiver.Opened, v archiver.Volume, m moment) (*archive.Source, error) {
	if m.isNewest() {
		if err := n.archiveNow(ctx, v); err != nil {
			return nil, err
		}
	}
	plan, err := o.Archive.Plan(ctx, v.ID, archive.When{Time: m.at, Snapshot: m.snapshot})
	if err != nil {
		return nil, err
	}
	return o.Archive.Source(ctx, plan, nil)
}

// newestPoint opens a volume's newest point for verifying it.
func (n *node) newestPoint(ctx context.Context, v archiver.Volume) (_ *archive.Source, release func(), err error) {
	o, err := n.vault.Wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	if release, err = n.keeper.Reading(ctx); err != nil {
		return nil, nil, err
	}
	src, err := n.findPoint(ctx, o, v, moment{})
	if err != nil {
		release()
		return nil, nil, err
	}
	return src, release, nil
}

// archiveNow brings what an attached volume has into the archive.
func (n *node) archiveNow(ctx context.Context, v archiver.Volume) error {
	s := n.peek(v.ID)
	if s == nil {
		return nil
	}
	a, w := s.current(), s.archiver()
	if a == nil || w == nil {
		return nil
	}
	n.writeBack(ctx, a)
	if err := w.Flush(ctx); err != nil {
		return fmt.Errorf("archive what volume %q has now: %w", v.Name, err)
	}
	return nil
}

// writeBack has the kernel write what it holds of a mounted volume, so that a point that
// is made now has it. It takes its time on a slow disk, and is not waited for for ever:
// what is not flushed was promised to nobody.
func (n *node) writeBack(ctx context.Context, a *attachment) {
	ctx, cancel := context.WithTimeout(ctx, syncBudget)
	defer cancel()
	done := make(chan struct{})
	if !n.do(func(context.Context) { defer close(done); syncFilesystem(a.mountpoint) }) {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func syncFilesystem(mountpoint string) {
	fd, err := unix.Open(mountpoint, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Syncfs(fd) // the engine tells of a disk that failed
	_ = unix.Close(fd)  // nothing was written through it
}

// recordFor returns the record of a restored volume. It has the size that the volume had
// then, and the filesystem that is in it.
func (n *node) recordFor(r restoreRequest, rec cluster.Record, spec ballast.VolumeSpec, plan *archive.Plan) cluster.Record {
	at := plan.Point
	spec.Size = at.Size
	origin := &cluster.Origin{Volume: rec.ID, Name: rec.Name, Time: at.Time, LSN: at.LSN, Epoch: at.Epoch, Size: at.Size, Asked: r.asked}
	if plan.Base != nil {
		origin.Snapshot = plan.Base.Snapshot.String()
	}
	made := cluster.Record{
		ID: cluster.NewVolumeID(), Name: r.as, Spec: spec, Formatted: true, Origin: origin,
		Epoch:     1, // of the beginning of its history, which nobody writes in
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	if r.inPlace {
		made.Name = rec.Name
	}
	return made
}

// bringBack makes the files of a volume, the beginning of its history, and then its record.
func (n *node) bringBack(ctx context.Context, o *archiver.Opened, r restoreRequest, old, made cluster.Record, src *archive.Source) (cluster.Record, error) {
	files := func(adopt func() (cluster.Record, error)) (cluster.Record, error) {
		hollow := volume.Hollow{ID: made.ID, Size: made.Spec.Size, Present: src.Present}
		return n.withFiles(made, hollow, src.Plan(), func() (cluster.Record, error) {
			if err := n.writers.Begin(ctx, o, archivedVolume(made)); err != nil {
				return made, err
			}
			return adopt()
		})
	}
	if r.inPlace {
		return n.replace(ctx, old, made, files)
	}
	if _, err := n.records.Get(made.Name); err == nil {
		return made, fmt.Errorf("there is a volume called %q already; restore under another name: %w", made.Name, ballast.ErrExists)
	}
	return files(func() (cluster.Record, error) { return n.records.Adopt(ctx, made) })
}

// replace puts made in the place of a volume that nobody uses.
func (n *node) replace(ctx context.Context, old, made cluster.Record, files func(adopt func() (cluster.Record, error)) (cluster.Record, error)) (cluster.Record, error) {
	if old.InTrash() {
		return made, fmt.Errorf("it is in the trash; restore it under a name: %w", ballast.ErrInvalid)
	}
	s := n.slot(old.ID)
	if err := n.acquire(ctx, s, "replacing"); err != nil {
		return made, err
	}
	defer s.release()
	if err := n.detachUnused(ctx, s); err != nil {
		return made, err
	}
	made, err := files(func() (cluster.Record, error) { return n.records.Replace(ctx, old.ID, made) })
	if err == nil {
		n.health.clear(s.id)
	}
	return made, err
}

// detachUnused ends the attachment of a volume that nobody holds, and refuses, by name,
// where somebody does. The caller has the slot's lock.
func (n *node) detachUnused(ctx context.Context, s *slot) error {
	n.dropStale(ctx, s, 0)
	if state := s.remembered(); len(state.Holders) > 0 {
		return fmt.Errorf("it is held by %s; stop what uses it first: %w", strings.Join(state.names(), ", "), ballast.ErrInUse)
	}
	if s.current() != nil {
		if err := n.unmountPatiently(ctx, s); err != nil {
			return err
		}
	}
	return n.releaseForgotten(ctx, s.id)
}

// createFrom is Create with the option from.
func (n *node) createFrom(ctx context.Context, name string, options map[string]string) (volumeView, error) {
	from, rest := splitFrom(options)
	source, m, err := parseFrom(from, time.Now())
	if err != nil {
		return volumeView{}, fmt.Errorf("create volume %q: %w", name, err)
	}
	if rec, err := n.records.Get(name); err == nil {
		if err := acceptRestored(rec, from, rest); err != nil {
			return volumeView{}, fmt.Errorf("create volume: %w", err)
		}
		return n.look(rec), nil
	}
	if at, err := n.restoredBy(ctx, source, m, false); at != "" && err == nil {
		now, here, err := n.nowOf(ctx, at, source, name)
		if err != nil {
			return volumeView{}, err
		}
		if !here {
			return n.createFromAt(ctx, at, name, options)
		}
		m = now
	}
	out, err := n.RestoreAt(ctx, restoreRequest{name: source, moment: m, as: name, options: rest, asked: from})
	if err != nil {
		return volumeView{}, fmt.Errorf("create volume %q: %w", name, err)
	}
	return out.volume, nil
}
