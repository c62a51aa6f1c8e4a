package docker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const mountC1 = `{"Name":"db","ID":"c1"}`

// TestMountTwiceUnderOneID is what docker cp does to a container that runs.
func TestMountTwiceUnderOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		e := newEngine(t, fake, Options{})
		e.must(t, "VolumeDriver.Mount", mountC1)
		e.must(t, "VolumeDriver.Mount", mountC1)
		e.must(t, "VolumeDriver.Unmount", mountC1)
		if got := fake.held("db"); got != 1 {
			t.Errorf("held %d times; want 1: the container still runs", got)
		}
		e.must(t, "VolumeDriver.Unmount", mountC1)
		if got := fake.held("db"); got != 0 {
			t.Errorf("held %d times; want 0", got)
		}
	})
}

// slowAttach makes attaching take a while, and ignore its context or not.
func slowAttach(listens bool) func(context.Context, string) error {
	return func(ctx context.Context, call string) error {
		if !strings.HasPrefix(call, "attach") {
			return ctx.Err()
		}
		if !listens {
			<-time.After(10 * time.Minute) // on the fake clock
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

// TestMountThatOutlivesPatience is D4: Docker hangs up, and will never unmount.
func TestMountThatOutlivesPatience(t *testing.T) {
	for name, listens := range map[string]bool{"attach that listens": true, "attach that does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake("db")
				fake.hook = slowAttach(listens)
				e := newEngine(t, fake, Options{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := e.call(ctx, "VolumeDriver.Mount", mountC1); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Mount = %v; want Docker's own limit", err)
				}
				<-time.After(time.Hour) // on the fake clock
				if got := fake.held("db"); got != 0 {
					t.Errorf("held %d times; want 0: nobody will unmount it (calls %q)", got, fake.called())
				}
			})
		})
	}
}

// TestMountThatOutlivesItsBudget: the answer was an error, so there is no Unmount.
func TestMountThatOutlivesItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.hook = slowAttach(false)
		e := newEngine(t, fake, Options{})
		e.refused(t, "VolumeDriver.Mount", mountC1)
		<-time.After(time.Hour) // on the fake clock
		if got := fake.held("db"); got != 0 {
			t.Errorf("held %d times; want 0 (calls %q)", got, fake.called())
		}
	})
}

// TestLateMountAndItsRetry: the first attempt ends after the second has begun and
// has the same ID; taking back the first must leave the second.
func TestLateMountAndItsRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		var attaches atomic.Int32
		fake.hook = func(_ context.Context, call string) error {
			if strings.HasPrefix(call, "attach") {
				if attaches.Add(1) == 1 {
					<-time.After(10 * time.Minute) // on the fake clock
				}
			}
			return nil
		}
		e := newEngine(t, fake, Options{})
		e.refused(t, "VolumeDriver.Mount", mountC1)
		e.must(t, "VolumeDriver.Mount", mountC1)
		<-time.After(time.Hour) // on the fake clock
		if got := fake.held("db"); got != 1 {
			t.Errorf("held %d times; want 1 (calls %q)", got, fake.called())
		}
	})
}

// deaf is a connection whose other end has gone just before the answer.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestMountAnswerNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		req := httptest.NewRequest(http.MethodPost, "/VolumeDriver.Mount", strings.NewReader(mountC1))
		New(fake, Options{}).ServeHTTP(deaf{httptest.NewRecorder()}, req)
		synctest.Wait()
		if got := fake.held("db"); got != 0 {
			t.Errorf("held %d times; want 0 (calls %q)", got, fake.called())
		}
	})
}

// TestRunEnds: an agent that ends takes back what is under way, and waits for it.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.hook = slowAttach(true)
		l := newPipeListener()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- New(fake, Options{}).Run(ctx, l) }()
		e := engine{&http.Client{Transport: &http.Transport{DialContext: l.dial}}}
		hung := make(chan struct{})
		go func() { defer close(hung); _, _ = e.call(t.Context(), "VolumeDriver.Mount", mountC1) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v; want nil", err)
		}
		<-hung
		if got := fake.held("db"); got != 0 {
			t.Errorf("held %d times; want 0", got)
		}
		if _, err := e.call(t.Context(), "Plugin.Activate", ""); err == nil {
			t.Error("a call was answered after the end")
		}
	})
}

// TestRunEndsAlthoughStuck: what hangs must not keep the agent from ending.
func TestRunEndsAlthoughStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		release := make(chan struct{})
		fake.hook = func(context.Context, string) error { <-release; return nil }
		l := newPipeListener()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- New(fake, Options{}).Run(ctx, l) }()
		e := engine{&http.Client{Transport: &http.Transport{DialContext: l.dial}}}
		e.refused(t, "VolumeDriver.Mount", mountC1)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v; want nil", err)
		}
		close(release)
	})
}
