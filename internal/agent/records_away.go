package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

// What a node does while the records cannot be changed: it says so, and since when, what goes on,
// and answers whoever wants a change before they lose patience.

// recordsPatience is how long somebody at a terminal waits for records that do not answer: with
// the last question that was asked of them the answer comes within ten seconds. Docker gives up
// on a container whose volume it does not get, so it waits for as long as Docker does.
const recordsPatience = 6 * time.Second

// noteNoQuorum says what the silence of those that keep the records means for the volumes here.
func (n *node) noteNoQuorum(why error) {
	title := "The records cannot be changed"
	if why != nil {
		title += ": " + why.Error()
	}
	title += ". No volume can be made, attached, moved, taken over or removed. "
	goesOn, waits := n.attachedBySafety()
	switch {
	case len(goesOn)+len(waits) == 0:
		title += "Nothing is attached here."
	case len(waits) == 0:
		title += "What is attached here works on: " + someOf(goesOn) + "."
	case len(goesOn) == 0:
		title += "Attached here are only volumes with in-sync copies on other nodes, which could take over: their writers wait, and fail after two leases: " + someOf(waits) + "."
	default:
		title += "With their only in-sync copy here, these work on: " + someOf(goesOn) + ". Others could take over these: their writers wait, and fail after two leases: " + someOf(waits) + "."
	}
	n.health.raiseSince("", condRecords, title, n.whatBringsRecordsBack(), n.records.Heard())
}

// whatBringsRecordsBack is what to type.
func (n *node) whatBringsRecordsBack() string {
	const after = "everything goes on by itself then"
	if len(n.cfg.Etcd) > 0 {
		return "mend that etcd, or the way to it; " + after
	}
	var names []string
	for _, m := range n.records.Members() {
		if m.Node != n.cfg.Node && m.Node != "" {
			names = append(names, string(m.Node))
		}
	}
	start := "start the nodes that keep the records"
	if len(names) > 0 {
		start += ", " + strings.Join(names, ", ") + ","
	}
	return start + " and mend the network to them; " + after + ". Only when they are lost for good: ballast agent --force-new-cluster"
}

// attachedBySafety returns the volumes attached here that no other node could take over, and those
// that one could.
func (n *node) attachedBySafety() (alone, shared []string) {
	for _, rec := range n.records.List() {
		s := n.peek(rec.ID)
		if s == nil || s.current() == nil {
			continue
		}
		if len(rec.InSync) == 1 && rec.InSync[0] == n.cfg.Node {
			alone = append(alone, rec.Name)
		} else {
			shared = append(shared, rec.Name)
		}
	}
	return alone, shared
}

// someOf is a list for people, of names of which there may be many.
func someOf(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

var errSilent = errors.New("the records do not answer")

// recordsSilent returns why the records cannot be changed, nil when they can.
func (n *node) recordsSilent() error {
	ready, why := n.records.Ready()
	switch {
	case ready:
		return nil
	case why == nil:
		return errSilent
	}
	return why
}

// silence measures for how long the records have not answered somebody who needs them.
type silence struct{ since time.Time }

// heard ends it.
func (q *silence) heard() { q.since = time.Time{} }

// lasts notes that there was no answer, and reports whether that has been so for too long.
func (q *silence) lasts(patience time.Duration) bool {
	if q.since.IsZero() {
		q.since = time.Now()
	}
	return time.Since(q.since) >= patience
}

// mayWait returns how long records that do not answer are waited for, for those who wait for an
// attach of a volume.
func (s *slot) mayWait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		for w := range s.flight.waiting {
			if strings.HasPrefix(w.holder, dockerHolder) {
				return attachBudget
			}
		}
	}
	return recordsPatience
}

// mustAnswer makes sure that the records can be changed before something is undone that needs
// a change to be done again. The error says that nothing was changed.
func (n *node) mustAnswer(ctx context.Context, id ballast.VolumeID) (cluster.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, recordsPatience)
	defer cancel()
	rec, err := n.records.Read(ctx, id)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ballast.ErrNotReady) {
		err = fmt.Errorf("the records do not answer; nothing was changed; see `ballast status`: %w: %w", err, ballast.ErrNotReady)
	}
	return rec, err
}
