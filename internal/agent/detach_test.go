package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast/internal/engine"
)

// An engine that ended without the word of a copy that hangs is gone: the volume is let go of, and
// can be attached again.
func TestUnsettledEngineIsLetGo(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	m.set(func() { m.fail["stop"] = fmt.Errorf("a copy hangs: %w", engine.ErrUnsettled) })
	mustDetach(t, n, "db", "a")
	m.kill() // as the real one has ended
	if got := stateOf(t, n, "db"); got != stateDetached {
		t.Errorf("state = %s; want detached", got)
	}
	if rec, err := n.records.ByID(v.record.ID); err != nil || rec.Primary != "" {
		t.Errorf("held by %q, %v; want nobody", rec.Primary, err)
	}
	if c := n.health.of(v.record.ID); len(c) > 0 {
		t.Errorf("conditions = %+v", c)
	}
	m.set(func() { delete(m.fail, "stop") })
	mustAttach(t, n, "db", "a")
	mustDetach(t, n, "db", "a")
}

// An unmounting that waits for a copy is said to after a while, and what it waits for.
func TestSlowDetachIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		n := newTestNode(t, m, Config{DataDir: t.TempDir(), Archive: NoArchive})
		e := &fakeEngine{m: m, stall: "node n2 does not answer", disk: &fakeDisk{}}
		s := n.slot("abcdefghijklmnopqrstuvwxyz")
		ctx, cancel := context.WithTimeout(t.Context(), detachPatience)
		defer cancel()
		n.cancelWhenStuck(ctx, s, e, cancel)
		if c := n.health.of(s.id); len(c) > 0 {
			t.Errorf("said at once: %+v", c)
		}
		ctx, cancel = context.WithTimeout(t.Context(), detachPatience+time.Minute)
		defer cancel()
		n.cancelWhenStuck(ctx, s, e, cancel)
		if c := n.health.of(s.id); len(c) != 1 || c[0].code != condStillMounted || !strings.Contains(c[0].title, e.stall) {
			t.Errorf("conditions = %+v; want why it is not unmounted", c)
		}
	})
}
