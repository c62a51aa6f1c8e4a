package archiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// countedSource is a chunkSource that fails as it is told.
type countedSource struct{ err error }

func (c *countedSource) Size() int64 { return ballast.ChunkSize }
func (c *countedSource) Fetch(_ context.Context, chunk int, p []byte) error {
	p[0] = byte(chunk)
	return c.err
}

func TestSourcesOpenOnce(t *testing.T) {
	var mu sync.Mutex
	opened, closed := 0, 0
	s := newSources(func(context.Context, ballast.VolumeID) (chunkSource, func(), error) {
		mu.Lock()
		defer mu.Unlock()
		if opened++; opened == 1 {
			return nil, nil, errors.New("the store is away")
		}
		return &countedSource{}, func() { closed++ }, nil
	})
	if err := s.Fetch(t.Context(), "v", 0, func([]byte) {}); err == nil {
		t.Error("fetched from a store that is away")
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if err := s.Fetch(t.Context(), "v", i, func(p []byte) {
				if p[0] != byte(i) {
					t.Errorf("chunk %d has %d in it", i, p[0])
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.Drop("v")
	s.Drop("never seen")
	s.DropAll()
	if opened != 2 || closed != 1 {
		t.Errorf("opened %d times, closed %d times; want one that failed, one that served, and that closed", opened, closed)
	}
}

func TestFetchStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"the store is away", errors.New("connection refused"), http.StatusServiceUnavailable},
		{"the archive is not open yet", fmt.Errorf("x: %w", ballast.ErrNotReady), http.StatusServiceUnavailable},
		{"too slow", context.DeadlineExceeded, http.StatusServiceUnavailable},
		{"a pack is damaged", fmt.Errorf("x: %w", &repository.DamageError{File: "f"}), http.StatusInternalServerError},
		{"an object is damaged", fmt.Errorf("x: %w", &tail.DamageError{}), http.StatusInternalServerError},
		{"no such chunk", fmt.Errorf("x: %w", ballast.ErrInvalid), http.StatusInternalServerError},
		{"the object is gone", fmt.Errorf("x: %w", ballast.ErrNotFound), http.StatusNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fetchStatus(tt.err); got != tt.want {
				t.Errorf("status %d; want %d", got, tt.want)
			}
		})
	}
}
