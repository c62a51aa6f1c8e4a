package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/engine"
)

// every calls f now and then until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// watch asks every engine how it is, each in a goroutine of its own: one that
// hangs tells nothing of the others.
func (n *node) watch(context.Context) {
	n.startAwaited()
	for _, s := range n.allSlots() {
		if a := s.current(); a != nil {
			n.do(func(ctx context.Context) { n.watchEngine(ctx, s, a) })
		}
	}
}

func (n *node) watchEngine(ctx context.Context, s *slot, a *attachment) {
	asking, cancel := context.WithTimeout(ctx, watchEvery) // before it is asked again
	defer cancel()
	status, err := a.engine.Status(asking)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errEngineGone):
		n.buryIfDead(ctx, s, a)
	case err != nil:
		n.noteSilence(s, a)
	default:
		n.noteStatus(s, a, status)
	}
}

// buryIfDead waits for whatever is going on with the volume, and looks again: an
// engine also ends when it is told to.
func (n *node) buryIfDead(ctx context.Context, s *slot, a *attachment) {
	if !n.tryAcquire(s, "sweeping") {
		return // looked at again soon
	}
	defer s.release()
	if s.current() != a {
		return
	}
	if why := a.isOver(); why != "" {
		n.takeAway(context.WithoutCancel(ctx), s, a, why)
		return
	}
	n.bury(ctx, s, a)
}

// noteSilence raises the alarm at the third time, so that a busy disk does not.
func (n *node) noteSilence(s *slot, a *attachment) {
	s.mu.Lock()
	s.silence++
	silence := s.silence
	s.mu.Unlock()
	if silence >= 3 {
		n.health.raise(s.id, condEngineSilent, fmt.Sprintf("The engine of volume %q runs but does not answer; what uses the volume hangs, and nothing flushed is lost.", a.record.Name),
			"look for a stopped process or a stuck disk; `kill -CONT` or `kill -9` the engine's process")
	}
}

func (n *node) noteStatus(s *slot, a *attachment, status engine.Status) {
	s.mu.Lock()
	if s.attached == a {
		s.status, s.silence = status, 0
		s.arrival.look(status.MissingChunks, time.Now())
	}
	s.mu.Unlock()
	n.noteHydration(s, a, status)
	n.noteFenced(s, a, status)
	n.noteStall(s, a, status)
	n.health.clear(s.id, condEngineSilent)
	n.noteFull(s.id, a.record.Name, status)
	if status.Error == "" {
		n.health.clear(s.id, condEngineError)
		return
	}
	n.health.raise(s.id, condEngineError, fmt.Sprintf("Volume %q accepts nothing more: %s. Nothing acknowledged is lost.", a.record.Name, status.Error),
		"mend the disk, stop what uses the volume, and start it again: the volume is recovered then")
}

// noteHydration says that a volume waits for what only the archive has.
func (n *node) noteHydration(s *slot, a *attachment, status engine.Status) {
	if status.FetchError == "" || status.MissingChunks == 0 {
		n.health.clear(s.id, archiver.CondHydration)
		return
	}
	n.health.raise(s.id, archiver.CondHydration, fmt.Sprintf("Volume %q has %d MiB in the archive alone, and cannot fetch them: %s. What touches them waits, and fails after a while; nothing wrong is read.",
		a.record.Name, int64(status.MissingChunks)*ballast.ChunkSize>>20, status.FetchError),
		"see `ballast archive status`; it goes on by itself when the archive answers")
}

// noteStall says that writers wait for copies on other nodes.
func (n *node) noteStall(s *slot, a *attachment, status engine.Status) {
	why := status.Stall
	if status.Shut {
		why = "this node's lease is past, because etcd did not answer in time"
	}
	if why == "" {
		n.health.clear(s.id, condWaiting)
		return
	}
	n.health.raise(s.id, condWaiting, fmt.Sprintf("Writes to volume %q wait: %s. Nothing acknowledged is lost.", a.record.Name, why),
		"see `ballast node ls` and `ballast volume inspect "+a.record.Name+"`; it goes on by itself when that is over")
}

func (n *node) noteFull(id ballast.VolumeID, name string, status engine.Status) {
	if status.FullSince.IsZero() {
		n.health.clear(id, condDiskFull)
		return
	}
	n.health.raise(id, condDiskFull, fmt.Sprintf("Volume %q waits for space on the node's disk since %s; nothing acknowledged is lost.", name, status.FullSince.Format(time.RFC3339)),
		"free space on "+n.cfg.DataDir+": the volume goes on by itself")
}

// tidy does what can wait, and what could not be done when it should have been.
func (n *node) tidy(ctx context.Context) {
	n.noteRecords()
	n.noteDisk()
	n.takeOverNew()
	n.sweepMaking(ctx)
	for _, s := range n.allSlots() {
		n.do(func(ctx context.Context) { n.tidyVolume(ctx, s) })
	}
	for _, rec := range n.records.Trash() {
		if !n.purges() {
			break
		}
		if rec.Purging || time.Since(rec.RemovedAt) > n.cfg.TrashKeep {
			n.do(func(ctx context.Context) { n.purge(ctx, n.slot(rec.ID)) })
		}
	}
}

func (n *node) tidyVolume(ctx context.Context, s *slot) {
	used, err := diskUsage(n.path(s.dir))
	if err == nil {
		s.mu.Lock()
		s.usedBytes = used
		s.mu.Unlock()
	}
	if !n.tryAcquire(s, "tidying up") {
		return
	}
	defer s.release()
	if s.current() == nil {
		if err := n.releaseForgotten(ctx, s.id); err != nil && !errors.Is(err, ballast.ErrNotFound) {
			n.quiet.Warn("release "+string(s.id), "the record of a detached volume still names this node", "volume_id", s.id, "error", err)
		}
		n.endFenced(s)
		n.dropUnwanted(ctx, s)
		if n.hasFiles(s) {
			n.learnOwner(ctx, s)
		}
		return
	}
	n.forgetSource(s)
	if len(s.remembered().Holders) == 0 && !s.isTended() {
		if err := n.unmountPatiently(ctx, s); err != nil {
			n.quiet.Warn("unmount "+string(s.id), "a volume that nobody holds cannot be unmounted", "volume", n.nameOf(s.id), "error", err)
		}
	}
}

// purge deletes a volume whose time in the trash is over: first the way back,
// then the files, then the record.
func (n *node) purge(ctx context.Context, s *slot) {
	if !n.tryAcquire(s, "deleting") {
		return
	}
	defer s.release()
	rec, err := n.records.BeginPurge(ctx, s.id)
	if err == nil {
		n.sources.Drop(s.id)
		err = n.deleteCopyLocked(ctx, s, rec)
	}
	if err == nil {
		err = n.purgeElsewhere(ctx, rec)
	}
	if err == nil {
		err = n.records.Forget(ctx, s.id)
	}
	if err != nil {
		n.quiet.Warn("purge "+string(s.id), "a removed volume could not be deleted for good", "volume_id", s.id, "error", err)
		return
	}
	n.mu.Lock()
	delete(n.slots, s.id)
	n.mu.Unlock()
	n.quiet.Over("purge " + string(s.id))
	n.log.Info("deleted removed volume for good", "volume", rec.Name, "volume_id", s.id, "removed_at", rec.RemovedAt)
}

func (n *node) noteRecords() {
	ready, why := n.records.Ready()
	if ready || n.givenUp.Load() != nil || n.health.holds("", condRemoved) { // which say it all
		n.health.clear("", condRecords)
		return
	}
	if len(n.records.Nodes()) > 1 {
		n.noteNoQuorum(why)
		return
	}
	title := "The volume records cannot be changed: volumes cannot be made, attached or removed. What is attached works on."
	if why != nil {
		title += " Reason: " + why.Error()
	}
	n.health.raise("", condRecords, title, "see the agent's log; free disk space when the disk is full; then start the agent again")
}

// A disk with less than this has no room for a log to turn around in.
const (
	fullBelow      = 512 << 20
	fullBelowShare = 0.02
)

func (n *node) noteDisk() {
	size, free, err := diskSpace(n.cfg.DataDir)
	if err != nil {
		n.quiet.Warn("disk", "free disk space is not known", "error", err)
		return
	}
	if free >= fullBelow || float64(free) >= fullBelowShare*float64(size) && free >= fullBelow/4 {
		n.health.clear("", condDiskFull)
		return
	}
	n.health.raise("", condDiskFull, fmt.Sprintf("The disk of %s has %d MiB left; when it is full, volumes make their writers wait or stop with an error. Nothing acknowledged is lost.", n.cfg.DataDir, free>>20),
		"free space on it, or `ballast volume rm` what is not needed and shorten --trash-keep")
}

func diskSpace(dir string) (size, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize), nil
}

// diskUsage returns the disk space of a volume's files. The folder of the device
// is left out: whoever serves it may be stopped, and looking at it would hang.
func diskUsage(dir string) (int64, error) {
	var used int64
	for _, sub := range []string{".", "log"} {
		entries, err := os.ReadDir(dir + "/" + sub)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			var st unix.Stat_t
			if unix.Lstat(dir+"/"+sub+"/"+e.Name(), &st) == nil {
				used += st.Blocks * 512
			}
		}
	}
	return used, nil
}
