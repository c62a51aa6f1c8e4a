package agent

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
)

// awaited is the volumes that containers of this machine could not have, or were killed for, for a
// reason that passes. Docker tries to start a container once, and never starts one again that was
// killed through its API: who has a restart policy and waits for a volume is started by the node (A26).
type awaited struct {
	mu  sync.Mutex // guards set
	set map[ballast.VolumeID]*awaitedVolume
}

// awaitedVolume is one of them.
type awaitedVolume struct {
	killed []string // containers that were killed because the volume was fenced
	trying bool
	after  time.Time // when it is tried next
	pause  time.Duration
}

// How often it is tried whether a volume can be had now that could be had a moment ago.
const (
	awaitedPause    = watchEvery
	maxAwaitedPause = time.Minute
)

// add notes that containers want a volume, and which of them were killed.
func (w *awaited) add(id ballast.VolumeID, killed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = map[ballast.VolumeID]*awaitedVolume{}
	}
	v := w.set[id]
	if v == nil {
		v = &awaitedVolume{}
		w.set[id] = v
	}
	v.killed = append(v.killed, killed...)
}

// due returns what is to be tried now, with the containers that were killed; each is tried until done.
func (w *awaited) due(now time.Time) map[ballast.VolumeID]awaitedVolume {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := map[ballast.VolumeID]awaitedVolume{}
	for id, v := range w.set {
		if !v.trying && !now.Before(v.after) {
			v.trying = true
			due[id] = *v
		}
	}
	return due
}

// done ends a try: the volume is awaited no longer, or tried again after a pause, which is longer
// each time that it was really tried.
func (w *awaited) done(id ballast.VolumeID, over, tried bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.set[id]
	switch {
	case v == nil:
	case over:
		delete(w.set, id)
	case tried:
		v.pause = min(max(2*v.pause, awaitedPause), maxAwaitedPause)
		fallthrough
	default:
		v.trying, v.after = false, time.Now().Add(v.pause)
	}
}

// noteAwaited notes that Docker could not have a volume for a reason that passes.
func (n *node) noteAwaited(rec cluster.Record, holder string, err error) {
	if strings.HasPrefix(holder, dockerHolder) && passesByItself(err) {
		n.awaited.add(rec.ID, nil)
	}
}

// passesByItself reports whether an attach that failed may succeed when other nodes are back.
func passesByItself(err error) bool {
	if errors.Is(err, ballast.ErrInUse) || errors.Is(err, context.Canceled) {
		return false
	}
	for _, passing := range []error{ballast.ErrNotReady, ballast.ErrNoCopy, ballast.ErrUnknown, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// startAwaited starts the containers whose volumes can be had again.
func (n *node) startAwaited() {
	for id, v := range n.awaited.due(time.Now()) {
		n.do(func(ctx context.Context) { n.startUsersOf(ctx, id, v) })
	}
}

// prospect is what becomes of a volume that is awaited.
type prospect int

const (
	prospectWait  prospect = iota // it cannot be had yet
	prospectStart                 // it may be had now
	prospectOver                  // it is gone, or in use on another node
)

// judgeAwaited says what becomes of a volume that is awaited.
func (n *node) judgeAwaited(ctx context.Context, id ballast.VolumeID) (cluster.Record, prospect) {
	rec, err := n.records.ByID(id)
	_, elsewhere := n.holder(ctx, rec)
	switch {
	case errors.Is(err, ballast.ErrNotFound) || rec.InTrash():
		return rec, prospectOver
	case err != nil || !n.mayClaim() || n.isStranded(rec):
		return rec, prospectWait
	case elsewhere && !n.records.Session(rec.Primary).Over:
		return rec, prospectBeside(n.inspectElsewhere(ctx, rec))
	}
	return rec, prospectStart
}

// prospectBeside says what becomes of a volume that another node is the primary of, by what that one
// says of it; nil: nothing. Who only looks after its copies there lets go of it.
func prospectBeside(there *v1.Volume) prospect {
	switch {
	case there == nil || there.GetState() == string(stateAttaching):
		return prospectWait
	case len(there.GetHolders()) > 0:
		return prospectOver
	}
	return prospectStart
}

func (n *node) startUsersOf(ctx context.Context, id ballast.VolumeID, v awaitedVolume) {
	rec, is := n.judgeAwaited(ctx, id)
	if is != prospectStart {
		n.awaited.done(id, is == prospectOver, false)
		return
	}
	started, err := n.docker.StartUsers(ctx, rec.Name, v.killed)
	if len(started) > 0 {
		n.log.Info("started containers whose volume can be had again", "volume", rec.Name, "volume_id", id, "containers", started)
	}
	if err != nil {
		n.quiet.Warn("start users "+string(id), "containers that wait for a volume are not started; it is tried again", "volume", rec.Name, "error", err)
	}
	n.awaited.done(id, err == nil, true)
}

// mayClaim reports whether this node could become the writer of something now.
func (n *node) mayClaim() bool {
	ready, _ := n.records.Ready()
	return ready && (len(n.records.Nodes()) <= 1 || n.session.standing() != 0)
}
