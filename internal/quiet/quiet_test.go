package quiet

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := NewLog(slog.New(slog.NewTextHandler(&out, nil)))
		for _, tt := range []struct {
			wait time.Duration
			want string // in what is logged; "" for nothing
		}{{0, "times=1 x=y"}, {time.Second, ""}, {28 * time.Second, ""}, {time.Second, "times=3 x=y"}, {time.Second, ""}} {
			time.Sleep(tt.wait) // in the bubble
			out.Reset()
			l.Warn("key", "it failed", "x", "y")
			if got := out.String(); !strings.Contains(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("after another %s: %q; want %q", tt.wait, got, tt.want)
			}
		}
		l.Over("key")
		out.Reset()
		l.Warn("key", "it failed")
		if got := out.String(); !strings.Contains(got, "times=1") {
			t.Errorf("after it was over: %q; want it logged at once", got)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	l := NewLog(slog.New(slog.DiscardHandler))
	for i := range 3 * maxKeys {
		l.Warn(fmt.Sprint(i), "it failed")
	}
	if len(l.seen) > maxKeys+1 {
		t.Errorf("%d keys are remembered; want %d and one for the others", len(l.seen), maxKeys)
	}
}

func TestSilentKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(slog.New(slog.DiscardHandler))
		for i := range maxKeys {
			l.Warn(fmt.Sprint(i), "it failed")
		}
		time.Sleep(silence) // in the bubble
		l.Warn("new", "it failed")
		if len(l.seen) != 1 || l.seen["new"] == nil {
			t.Errorf("%d keys are remembered; want the new one alone", len(l.seen))
		}
	})
}
