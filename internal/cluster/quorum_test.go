package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
)

// mutedKeys is an etcd that says nothing from one moment on.
type mutedKeys struct {
	*memoryKeys

	muted atomic.Bool
}

func (m *mutedKeys) get(ctx context.Context, key string) (item, error) {
	if m.muted.Load() {
		<-ctx.Done()
		return item{}, ctx.Err()
	}
	return m.memoryKeys.get(ctx, key)
}

// An etcd that falls silent is noticed within seconds, with since when; what is asked of it ends
// in time and has changed nothing; and it is noticed that it answers again.
func TestSilentEtcdIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := &mutedKeys{memoryKeys: &memoryKeys{items: map[string]item{}}}
		r := onKeys(etcd.memoryKeys, "n2")
		h := heardKeys{etcd, r}
		r.setKeys(h, nil)
		r.view.setMembers([]Member{{ID: 1, Node: "n1", Started: true}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.watchQuorum(ctx) }()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()

		<-time.After(time.Minute)
		if ready, err := r.Ready(); !ready {
			t.Fatalf("nothing is wrong and it is not ready: %v", err)
		}
		etcd.muted.Store(true)
		lost := time.Now()
		<-time.After(5 * time.Second)
		ready, why := r.Ready()
		if ready || !errors.Is(why, errNoQuorum) || why.Error() != "node n1, which keeps the records, does not answer" {
			t.Errorf("5 s after etcd fell silent: ready %t, %v", ready, why)
		}
		if heard := r.Heard(); heard.After(lost) || lost.Sub(heard) > 2*proveAfter {
			t.Errorf("since %v; it fell silent at %v", heard, lost)
		}
		asked := time.Now()
		if _, err := r.Create(t.Context(), "db", nil); !errors.Is(err, ballast.ErrNotReady) || errors.Is(err, ballast.ErrUnknown) {
			t.Errorf("create = %v; want it refused", err)
		}
		if took := time.Since(asked); took > 2*time.Second {
			t.Errorf("that took %v", took)
		}
		etcd.muted.Store(false)
		<-time.After(2 * time.Second)
		if ready, err := r.Ready(); !ready {
			t.Errorf("it answers again, and is not ready: %v", err)
		}
		if _, err := r.Create(t.Context(), "db", nil); err != nil {
			t.Error(err)
		}
	})
}

// A question that is not answered ends by itself, when nobody has noticed yet.
func TestQuestionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := &mutedKeys{memoryKeys: &memoryKeys{items: map[string]item{}}}
		etcd.muted.Store(true)
		r := onKeys(etcd.memoryKeys, "n2")
		r.setKeys(heardKeys{etcd, r}, nil)
		asked := time.Now()
		if _, err := r.Claim(t.Context(), "abcdefghijklmnopqrstuvwxyz", ClaimRequest{}); !errors.Is(err, ballast.ErrNotReady) {
			t.Errorf("claim = %v; want not ready", err)
		}
		if took := time.Since(asked); took > askPatience {
			t.Errorf("it took %v", took)
		}
	})
}
