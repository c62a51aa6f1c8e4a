package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// told is what the engine of an attachment was told last.
type told struct {
	telling sync.Mutex // held while an engine is told: in order, and what came before is known

	mu      sync.Mutex // guards everything below
	session uint64     // under which a quorum confirmed the epoch
	members replica.Members
	over    string // why another node is, or may be, the writer; empty: it is not known to be
}

// isOver returns why the attachment is another node's, or "".
func (a *attachment) isOver() string {
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	return a.told.over
}

func (a *attachment) setOver(why string) {
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	a.told.over = why
}

// confirmed returns the session under which the attachment was confirmed last.
func (a *attachment) confirmed() uint64 {
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	return a.told.session
}

func (a *attachment) confirm(session uint64) {
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	a.told.session = max(a.told.session, session)
}

// follow looks after the volumes whose records change, and after all when nodes do, until
// ctx ends.
func (n *node) follow(ctx context.Context) {
	feed := n.records.Follow()
	defer feed.Close()
	for {
		select {
		case <-feed.Ready():
		case <-ctx.Done():
			return
		}
		changes := feed.Take()
		if changes.All || changes.Nodes {
			for _, s := range n.allSlots() {
				n.do(func(ctx context.Context) { n.lookAfter(ctx, s) })
			}
			continue
		}
		for _, id := range changes.Volumes {
			if s := n.peek(id); s != nil {
				n.do(func(ctx context.Context) { n.lookAfter(ctx, s) })
			}
		}
	}
}

// lookAfter brings an attachment in line with the volume's record: its engine hears of the
// copies, or it is ended, when another node has the volume (A18).
func (n *node) lookAfter(ctx context.Context, s *slot) {
	a := s.current()
	if a == nil {
		return
	}
	rec, err := n.records.ByID(s.id)
	if err != nil {
		return // gone, which nothing attached is
	}
	if rec.Epoch > a.record.Epoch || rec.Epoch == a.record.Epoch && rec.Primary != n.cfg.Node {
		n.evict(ctx, s, a, heldBy(rec))
		return
	}
	if !n.isMine(rec, a) {
		return // older than the attachment
	}
	if err := n.tellMembers(ctx, a, rec); err != nil && !errors.Is(err, errEngineGone) {
		n.quiet.Warn("members "+string(s.id), "an engine was not told of its volume's copies; it is told again", "volume", a.record.Name, "error", err)
	}
}

// lookAfterSoon looks after an attachment that is new, and confirms it when the session that
// it was claimed under is over.
func (n *node) lookAfterSoon(s *slot) {
	n.do(func(ctx context.Context) {
		n.lookAfter(ctx, s)
		n.confirmPatiently(ctx, s)
	})
}

// heldBy says why an attachment is over.
func heldBy(rec cluster.Record) string {
	if rec.Primary == "" {
		return fmt.Sprintf("the volume was released under epoch %d", rec.Epoch)
	}
	return fmt.Sprintf("node %s has taken the volume over, under epoch %d", rec.Primary, rec.Epoch)
}

// tellMembers tells an engine what the record says, unless it knows.
func (n *node) tellMembers(ctx context.Context, a *attachment, rec cluster.Record) error {
	a.told.telling.Lock()
	defer a.told.telling.Unlock()
	a.told.mu.Lock()
	before := a.told.members
	a.told.mu.Unlock()
	m := n.membersOf(rec, a.confirmed())
	if m.Revision < before.Revision || reflect.DeepEqual(m, before) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	if err := a.engine.SetMembers(ctx, m); err != nil {
		return err
	}
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	a.told.members = m
	return nil
}

// maxChange bounds what an engine asks, in bytes.
const maxChange = 16 << 10

// serveChange answers an engine that wants a copy to count, or not to.
func (n *node) serveChange(w http.ResponseWriter, r *http.Request) {
	var c replica.Request
	id := ballast.VolumeID(r.PathValue("volume"))
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChange)).Decode(&c); err != nil {
		http.Error(w, "read request: "+err.Error(), http.StatusBadRequest)
		return
	}
	m, err := n.changeInSync(r.Context(), id, c)
	answerJSON(w, m, err)
}

func (n *node) changeInSync(ctx context.Context, id ballast.VolumeID, c replica.Request) (replica.Members, error) {
	s := n.peek(id)
	if s == nil {
		return replica.Members{}, fmt.Errorf("volume %s is not attached here: %w", id, ballast.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	rec, err := n.records.ChangeInSync(ctx, id, c.Change, c.Branch)
	if err != nil {
		return replica.Members{}, err
	}
	n.log.Info("changed the in-sync copies of a volume", "volume", rec.Name, "volume_id", id, "add", c.Add, "remove", c.Remove, "reason", c.Reason, "in_sync", rec.InSync)
	var confirmed uint64
	if a := s.current(); a != nil {
		confirmed = a.confirmed()
	}
	return n.membersOf(rec, confirmed), nil
}

// answerJSON answers with a value, or with why not under the status that engines and other
// nodes know it by.
func answerJSON(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the asker has gone
}

// statuses are how errors travel, in order: the first that fits.
var statuses = []struct {
	err  error
	code int
}{
	{ballast.ErrUnknown, http.StatusInternalServerError},
	{ballast.ErrNotReady, http.StatusServiceUnavailable},
	{ballast.ErrInvalid, http.StatusBadRequest},
	{ballast.ErrNotFound, http.StatusNotFound},
	{ballast.ErrInUse, http.StatusConflict},
	{ballast.ErrTooFewCopies, http.StatusConflict},
	{ballast.ErrNoCopy, http.StatusGone},
}

func statusOf(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return http.StatusInternalServerError
}
