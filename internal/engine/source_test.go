package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// agentAt is an agent that answers for chunks.
func agentAt(t *testing.T, socket string, serve http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: serve}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { server.Close() })
}

// N7.
func TestSource(t *testing.T) {
	want := bytes.Repeat([]byte{7}, ballast.ChunkSize)
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		ok    bool
		final bool // asking again is of no use
	}{
		{"whole", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want) }, false, false}, // its length is not known
		{"whole, with its length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(want)
		}, true, false},
		{"short", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want[:100]) }, false, false},
		{"long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1048577")
			_, _ = w.Write(append(want, 7))
		}, false, false},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(want[:100])
		}, false, false},
		{"the archive is away", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "away", http.StatusServiceUnavailable) }, false, false},
		{"no such chunk", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "none", http.StatusNotFound) }, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "agent.sock")
			agentAt(t, socket, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/chunks/"+testVolume+"/5" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				tt.serve(w, r)
			})
			p := make([]byte, ballast.ChunkSize)
			err := newSource(socket, testVolume).Fetch(t.Context(), 5, p)
			if (err == nil) != tt.ok || tt.ok && !bytes.Equal(p, want) || errors.Is(err, ballast.ErrNotFound) != tt.final {
				t.Errorf("fetch = %v; want success: %t, final: %t", err, tt.ok, tt.final)
			}
		})
	}
}

// A fetch ends with its context, and an agent that is not there is an error.
func TestSourceEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	s := newSource(socket, testVolume)
	p := make([]byte, ballast.ChunkSize)
	if err := s.Fetch(t.Context(), 0, p); err == nil {
		t.Error("fetched from nobody")
	}
	agentAt(t, socket, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Fetch(ctx, 0, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("fetch from an agent that is stuck = %v; want deadline exceeded", err)
	}
}

// A volume that is not here yet is served: a read waits until the agent is there and
// the archive answers. Meanwhile no snapshot of it is taken.
func TestHydrates(t *testing.T) {
	dir, disk := newFolder(t)
	hollow := volume.Hollow{ID: testVolume, Size: size, LSN: 10, Epoch: 1, Present: func(chunk int) bool { return chunk != 3 }}
	if err := volume.CreateHollow(disk, ".", hollow); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), strings.Repeat("a long path ", 12), "agent.sock")
	if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	c := spawnWith(t, Config{Dir: dir, Epoch: 2, Agent: socket})
	eventually(t, "the status says that fetching fails", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.FetchError != "" && !st.FetchFailingSince.IsZero() && st.MissingChunks == 1 && st.TotalChunks == size>>20
	})
	if _, err := c.Snapshot(t.Context(), 0); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("snapshot of a volume that is not here = %v; want not ready", err)
	}
	serveLater(t, socket)
	f, err := os.Open(DeviceFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 2*ballast.BlockSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, 4*ballast.ChunkSize-ballast.BlockSize, int64(len(got))), got); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Repeat([]byte{7}, ballast.BlockSize), make([]byte, ballast.BlockSize)...)
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what the agent sent")
	}
	eventually(t, "nothing is missing", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.MissingChunks == 0 && st.FetchError == ""
	})
}

// serveLater is an agent that can answer from the third time on.
func serveLater(t *testing.T, socket string) {
	t.Helper()
	l, err := listenLong(socket)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "the archive does not answer", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Length", "1048576")
		_, _ = w.Write(bytes.Repeat([]byte{7}, ballast.ChunkSize))
	})}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { server.Close() })
}

// listenLong listens on a path that is longer than an address.
func listenLong(socket string) (net.Listener, error) {
	folder, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(socket)))
}
