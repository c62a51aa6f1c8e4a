package archiver

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// ServeChunk answers an engine that lacks a chunk: with its bytes; 503 and why while
// the archive cannot be asked; 500 when asking again is of no use.
func (s *Sources) ServeChunk(w http.ResponseWriter, r *http.Request) {
	chunk, err := strconv.Atoi(r.PathValue("chunk"))
	if err != nil || chunk < 0 {
		http.Error(w, "no such chunk", http.StatusBadRequest)
		return
	}
	rec, err := s.node.Records.ByID(ballast.VolumeID(r.PathValue("volume")))
	if err == nil {
		err = s.Fetch(r.Context(), rec.ID, chunk, func(p []byte) {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(p)))
			_, _ = w.Write(p) // the engine has gone
			s.node.Meters.Fetched(int64(len(p)))
		})
	}
	if err == nil {
		s.node.Quiet.Over("fetch " + string(rec.ID))
		return
	}
	if r.Context().Err() == nil {
		s.node.Quiet.Warn("fetch "+r.PathValue("volume"), "a chunk that a volume lacks was not fetched", "volume_id", rec.ID, "chunk", chunk, "error", err)
	}
	http.Error(w, err.Error(), fetchStatus(err))
}

// fetchStatus says whether asking again may help.
func fetchStatus(err error) int {
	var pack *repository.DamageError
	var object *tail.DamageError
	switch {
	case errors.As(err, &pack), errors.As(err, &object), errors.Is(err, ballast.ErrInvalid):
		return http.StatusInternalServerError
	case errors.Is(err, ballast.ErrNotFound):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}
