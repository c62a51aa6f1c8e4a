package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
)

func TestS3(t *testing.T) {
	server := s3test.Start(t)
	n := 0
	for _, prefix := range []string{"", "some/Prefix"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			storetest.Conformance(t, func(t testing.TB) store.Store {
				n++
				if prefix != "" {
					return open(t, server.URL(fmt.Sprintf("%s-%d", prefix, n)))
				}
				st := open(t, server.URL(""))
				empty(t, st)
				return st
			})
		})
	}
}

func empty(t testing.TB, st store.Store) {
	for o, err := range st.List(t.Context(), "") {
		if err == nil {
			err = st.Delete(t.Context(), o.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// proxied returns a store behind a proxy that can be told to go wrong, with an object in it.
func proxied(t *testing.T) (store.Store, *s3test.Proxy) {
	proxy := s3test.NewProxy(t, s3test.Start(t))
	st := open(t, proxy.URL("p"))
	t.Cleanup(func() { st.Close() })
	if err := st.Put(t.Context(), "object", object); err != nil {
		t.Fatal(err)
	}
	return st, proxy
}

var object = bytes.Repeat([]byte("0123456789abcdef"), 4096)

// calls makes each call once.
func calls(ctx context.Context, st store.Store) map[string]error {
	_, get := st.Get(ctx, "object", 0, -1)
	_, part := st.Get(ctx, "object", 100, 1000)
	var listed error
	for _, err := range st.List(ctx, "") {
		listed = errors.Join(listed, err)
	}
	return map[string]error{
		"Get": get, "Get part": part, "List": listed, "Put": st.Put(ctx, "object", object),
		"Create": st.Create(ctx, "new", object), "Delete": st.Delete(ctx, "gone"),
	}
}

// Whatever a store answers, an error is no statement about an object. O3, G6
func TestS3Refuses(t *testing.T) {
	st, proxy := proxied(t)
	for _, rule := range []s3test.Rule{
		{Status: 400, Code: "EntityTooLarge"},
		{Status: 401}, {Status: 403, Code: "AccessDenied"},
		{Status: 404}, {Status: 404, Code: "NoSuchBucket"}, {Status: 404, Code: "NotFound"},
		{Status: 301, Code: "PermanentRedirect"}, {Status: 307, Code: "TemporaryRedirect"},
		{Status: 409, Code: "OperationAborted"}, {Status: 507, Code: "XMinioStorageFull"},
	} {
		proxy.Do(s3test.Always(rule))
		for call, err := range calls(t.Context(), st) {
			if err == nil || errors.Is(err, ballast.ErrNotFound) || errors.Is(err, ballast.ErrExists) {
				t.Errorf("%d %s: %s = %v; want an error that says nothing about the object", rule.Status, rule.Code, call, err)
			}
		}
	}
}

// A store that is busy for a moment is asked again, within bounds.
func TestS3Busy(t *testing.T) {
	st, proxy := proxied(t)
	for _, rule := range []s3test.Rule{{Status: 500, Code: "InternalError"}, {Status: 503, Code: "SlowDown"}, {Status: 503}, {Status: 429}} {
		before := proxy.Requests()
		proxy.Do(s3test.Next(2, "", rule))
		if got, err := st.Get(t.Context(), "object", 0, -1); err != nil || !bytes.Equal(got, object) {
			t.Errorf("%d %s twice: %v; want the object", rule.Status, rule.Code, err)
		}
		proxy.Do(s3test.Always(rule))
		if err := st.Put(t.Context(), "object", object); err == nil {
			t.Errorf("%d %s: Put = nil", rule.Status, rule.Code)
		}
		if asked := proxy.Requests() - before; asked > 6 {
			t.Errorf("%d %s: asked %d times for two calls", rule.Status, rule.Code, asked)
		}
	}
}

// A store that hangs costs a call, and the call ends with its context.
func TestS3Hangs(t *testing.T) {
	st, proxy := proxied(t)
	proxy.Do(s3test.Always(s3test.Rule{Hang: true}))
	for name, call := range map[string]func(context.Context) error{
		"Put":    func(ctx context.Context) error { return st.Put(ctx, "object", object) },
		"Create": func(ctx context.Context) error { return st.Create(ctx, "new", object) },
		"Get":    func(ctx context.Context) error { _, err := st.Get(ctx, "object", 0, -1); return err },
		"Delete": func(ctx context.Context) error { return st.Delete(ctx, "object") },
		"List": func(ctx context.Context) error {
			for _, err := range st.List(ctx, "") {
				return err
			}
			return nil
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-proxy.Held()
			cancel()
		}()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a store that hangs = %v; want context.Canceled", name, err)
		}
		cancel()
	}
}

func TestS3AwayAndBack(t *testing.T) {
	st, proxy := proxied(t)
	proxy.Refuse()
	for call, err := range calls(t.Context(), st) {
		if err == nil || errors.Is(err, ballast.ErrNotFound) {
			t.Errorf("%s = %v; want an error that says nothing about the object", call, err)
		}
	}
	proxy.Listen()
	for call, err := range calls(t.Context(), st) {
		if err != nil {
			t.Errorf("%s of a store that is back: %v", call, err)
		}
	}
}

// What is short is not taken for whole.
func TestS3Truncates(t *testing.T) {
	st, proxy := proxied(t)
	for _, tt := range []struct {
		rule   s3test.Rule
		off, n int64
	}{
		{s3test.Rule{Cut: 1}, 0, -1},
		{s3test.Rule{Cut: 65535}, 0, -1},
		{s3test.Rule{Cut: 10}, 100, 1000},
		{s3test.Rule{Short: 10}, 100, 1000},
		{s3test.Rule{Short: 10}, 100, -1},
	} {
		proxy.Do(s3test.Always(tt.rule))
		if got, err := st.Get(t.Context(), "object", tt.off, tt.n); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: Get = %d bytes, %v; want io.ErrUnexpectedEOF", tt.rule, len(got), err)
		}
	}
}

// The answer to a Create is lost on the way, and the next attempt finds the object there:
// it is ours. Somebody else's is not. O2
func TestS3CreateWhoseAnswerIsLost(t *testing.T) {
	st, proxy := proxied(t)
	for i, want := range []error{nil, ballast.ErrExists} {
		proxy.Do(s3test.Next(1, http.MethodPut, s3test.Rule{Status: 500, Code: "InternalError", After: true}))
		if err := st.Create(t.Context(), "new", object); !errors.Is(err, want) {
			t.Errorf("Create number %d = %v; want %v", i+1, err, want)
		}
	}
}

func TestS3LosesPuts(t *testing.T) {
	st, proxy := proxied(t)
	proxy.Do(s3test.Always(s3test.Rule{Lose: true}))
	if err := st.Put(t.Context(), "lost", object); err != nil {
		t.Errorf("Put = %v; the proxy says it is stored", err)
	}
	proxy.Do(nil)
	if _, err := st.Get(t.Context(), "lost", 0, -1); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("Get of what was lost = %v; want ErrNotFound", err)
	}
}

// A store's wrong clock is in nobody's way: requests are signed for its time.
func TestS3WrongClock(t *testing.T) {
	st, proxy := proxied(t)
	for _, clock := range []time.Duration{-48 * time.Hour, 10 * time.Minute, 366 * 24 * time.Hour} {
		proxy.Do(s3test.Always(s3test.Rule{Clock: clock}))
		for call, err := range calls(t.Context(), st) {
			if err != nil {
				t.Errorf("clock wrong by %v: %s: %v", clock, call, err)
			}
		}
		if err := st.Delete(t.Context(), "new"); err != nil {
			t.Error(err)
		}
	}
}

// A Date that is not the store's makes it refuse what is signed for that time, and nothing
// worse: once it is right again, so are we.
func TestS3WrongDate(t *testing.T) {
	st, proxy := proxied(t)
	for _, date := range []time.Duration{time.Hour, -time.Hour} {
		proxy.Do(s3test.Always(s3test.Rule{Date: date}))
		for call, err := range calls(t.Context(), st) {
			if errors.Is(err, ballast.ErrNotFound) || errors.Is(err, ballast.ErrExists) {
				t.Errorf("Date wrong by %v: %s: %v; want an error that says nothing about the object", date, call, err)
			}
		}
	}
	proxy.Do(nil)
	if got, err := st.Get(t.Context(), "object", 0, -1); err != nil || !bytes.Equal(got, object) {
		t.Errorf("Get once the Date is right = %d bytes, %v; want the object", len(got), err)
	}
}

// What was stored is there after the server was killed; a server that is stopped hangs.
func TestS3ServerStopsAndGoes(t *testing.T) {
	server := s3test.Start(t)
	st := open(t, server.URL("p"))
	defer st.Close()
	if err := st.Put(t.Context(), "object", object); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := st.Get(ctx, "object", 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get from a stopped server = %v; want context.DeadlineExceeded", err)
	}
	server.Resume()
	server.Restart()
	if got, err := st.Get(t.Context(), "object", 0, -1); err != nil || !bytes.Equal(got, object) {
		t.Errorf("Get after a restart = %d bytes, %v; want the object", len(got), err)
	}
}

// The keys are in no error. G9
func TestS3KeepsItsKeys(t *testing.T) {
	st, proxy := proxied(t)
	secrets := []string{"a-secret-key", "an-access-key"}
	t.Setenv("AWS_ACCESS_KEY_ID", secrets[1])
	t.Setenv("AWS_SECRET_ACCESS_KEY", secrets[0])
	stranger := open(t, proxy.URL("p"))
	defer stranger.Close()
	proxy.Refuse()
	refused := calls(t.Context(), st)
	proxy.Listen()
	for call, err := range calls(t.Context(), stranger) {
		for _, err := range []error{err, refused[call]} {
			if err == nil || slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Errorf("%s with wrong keys: %v", call, err)
			}
		}
	}
}
