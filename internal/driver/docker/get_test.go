package docker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
)

// TestGetSaysOnlyWhatIsKnown is D1: whatever goes wrong, Docker reads "cannot be
// reached", never "no such volume".
func TestGetSaysOnlyWhatIsKnown(t *testing.T) {
	fail := func(err error) func(context.Context, string) error {
		return func(context.Context, string) error { return err }
	}
	const name = `{"Name":"db"}`
	for _, tt := range []struct {
		what string
		body string
		hook func(context.Context, string) error
		want string // dropped, found, or refused
	}{
		{"known", name, nil, "found"},
		{"known not to exist", `{"Name":"other"}`, nil, "refused"},
		{"a name no volume can have", name, fail(fmt.Errorf("bad name: %w", ballast.ErrInvalid)), "refused"},
		{"not ready", name, fail(ballast.ErrNotReady), "dropped"},
		{"another error", name, fail(errors.New("disk on fire")), "dropped"},
		{"a panic", name, func(context.Context, string) error { panic("bug") }, "dropped"},
		{"stuck until cancelled", name, func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, "dropped"},
		{"sent again, empty", "", nil, "dropped"},
		{"cut short", `{"Name":"d`, nil, "dropped"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake("db")
				fake.hook = tt.hook
				e := newEngine(t, fake, Options{})
				start := time.Now()
				if got := outcomeOf(e.call(t.Context(), "VolumeDriver.Get", tt.body)); got != tt.want {
					t.Errorf("Get = %s; want %s", got, tt.want)
				}
				if waited := time.Since(start); waited > time.Minute {
					t.Errorf("Get took %v; want less than Docker's minute", waited)
				}
			})
		})
	}
}

func outcomeOf(a answer, err error) string {
	switch {
	case err != nil:
		return "dropped"
	case a.Err != "":
		return "refused"
	case a.Volume != nil:
		return "found"
	}
	return "empty"
}

// TestGetIsHeld: Docker sends a call that failed within 29 s again, four times; one
// that was held for longer is enough.
func TestGetIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.hook = func(context.Context, string) error { return ballast.ErrNotReady }
		e := newEngine(t, fake, Options{})
		start := time.Now()
		if _, err := e.call(t.Context(), "VolumeDriver.Get", `{"Name":"db"}`); err == nil {
			t.Error("Get was answered; want a lost connection")
		}
		if held := time.Since(start); held < 30*time.Second {
			t.Errorf("held for %v; want 30 s or more", held)
		}
	})
}

func TestGetStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.status = map[string]any{"size": "20 GiB", "epoch": 3}
		e := newEngine(t, fake, Options{})
		v := e.must(t, "VolumeDriver.Get", `{"Name":"db"}`).Volume
		if v.Status["size"] != "20 GiB" || v.Status["epoch"] != 3.0 {
			t.Errorf("status = %v; want size and epoch", v.Status)
		}
		if v.Mountpoint != "" {
			t.Errorf("mountpoint of a volume that is not mounted = %q; want none", v.Mountpoint)
		}
		e.must(t, "VolumeDriver.Mount", `{"Name":"db","ID":"c1"}`)
		if got := e.must(t, "VolumeDriver.Get", `{"Name":"db"}`).Volume.Mountpoint; got != "/mnt/db" {
			t.Errorf("mountpoint = %q; want /mnt/db", got)
		}
	})
}

// TestGetStatusThatCannotBeSent: an answer that is cut short reads as "no such
// volume" too.
func TestGetStatusThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.status = map[string]any{"ratio": math.NaN()}
		e := newEngine(t, fake, Options{})
		if got := outcomeOf(e.call(t.Context(), "VolumeDriver.Get", `{"Name":"db"}`)); got != "dropped" {
			t.Errorf("Get = %s; want dropped", got)
		}
	})
}

// TestActivateWaitsForNothing: Docker waits for Activate without limit, and for
// nothing else before it has that.
func TestActivateWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.hook = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		e := newEngine(t, fake, Options{})
		start := time.Now()
		e.must(t, "Plugin.Activate", "")
		e.must(t, "VolumeDriver.Capabilities", "")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v; want no waiting", waited)
		}
	})
}

// TestBudget is D3, for calls that listen to their context and calls that do not.
func TestBudget(t *testing.T) {
	for call, limit := range map[string]time.Duration{
		"Create": 2 * time.Minute, "Mount": 2 * time.Minute,
		"Remove": time.Minute, "Path": time.Minute, "Unmount": time.Minute, "List": time.Minute,
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stuck(t, call, limit) })
		})
	}
}

func stuck(t *testing.T, call string, limit time.Duration) {
	release := make(chan struct{})
	fake := newFake("db")
	fake.hook = func(context.Context, string) error { <-release; return nil }
	e := newEngine(t, fake, Options{})
	start := time.Now()
	got := e.refused(t, "VolumeDriver."+call, `{"Name":"db","ID":"c1"}`)
	if waited := time.Since(start); waited >= limit {
		t.Errorf("answered after %v; want less than Docker's %v", waited, limit)
	}
	if !strings.Contains(got, "ballast status") {
		t.Errorf("Err = %q; want what to do next", got)
	}
	close(release)
}
