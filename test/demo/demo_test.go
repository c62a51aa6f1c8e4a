package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab/labtest"
)

// stage is a screen that pulls the plug when a text appears on it.
type stage struct {
	bytes.Buffer
	cue  string
	plug context.CancelFunc
}

func (s *stage) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if s.cue != "" && strings.Contains(s.String(), s.cue) {
		s.plug()
	}
	return n, err
}

// TestDemo is the main promise: everything that is done to Redis is survived
// (G1). Ctrl-C ends it anywhere, and nothing is left behind (G8).
func TestDemo(t *testing.T) {
	labtest.Require(t)
	labtest.Binary(t) // the demo's
	for _, tt := range []struct {
		name string
		cue  string
		want int
	}{
		{"to the end", "", exitSurvived},
		{"interrupted while the Engine starts", "ballast agent", exitInterrupted},
		{"interrupted while a volume is attached", "docker service create --detach --name redis", exitInterrupted},
		{"interrupted without an agent", "while Redis writes", exitInterrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := &stage{cue: tt.cue, plug: cancel}
			if got := demo(ctx, s); got != tt.want {
				t.Errorf("exit code %d; want %d\n%s", got, tt.want, s)
			}
			dir := regexp.MustCompile(`In (\S+),`).FindStringSubmatch(s.String())
			if dir == nil {
				t.Fatalf("the demo does not say where it is:\n%s", s)
			}
			if _, err := os.Stat(dir[1]); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", dir[1], err)
			}
		})
	}
}
