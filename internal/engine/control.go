package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/volume"
)

// Status is what an engine says of itself at one moment. Sizes are in bytes; counts
// are since it started.
type Status struct {
	PID          int              `json:"pid"`
	Volume       ballast.VolumeID `json:"volume"`
	Epoch        ballast.Epoch    `json:"epoch"`
	Lineage      volume.Lineage   `json:"lineage,omitempty"` // of its records; nil: the engine is too old to say
	Size         int64            `json:"size"`
	DeviceFile   string           `json:"device_file"`
	DeviceNumber uint64           `json:"device_number"` // st_dev of the device file
	InUse        bool             `json:"in_use"`        // something, such as a loop device, has it open

	Last      ballast.LSN `json:"last"`
	Durable   ballast.LSN `json:"durable"`
	Committed ballast.LSN `json:"committed"`
	Applied   ballast.LSN `json:"applied"`

	LogBytes    int64 `json:"log_bytes"`
	LogCapacity int64 `json:"log_capacity"`
	ImageBytes  int64 `json:"image_bytes"`

	Reads        uint64 `json:"reads"`
	Writes       uint64 `json:"writes"`
	Flushes      uint64 `json:"flushes"`
	Discards     uint64 `json:"discards"`
	ReadBytes    uint64 `json:"read_bytes"`
	WrittenBytes uint64 `json:"written_bytes"`

	QueueBytes int64       `json:"queue_bytes"`          // of the log that only the archive needs
	Waiting    int64       `json:"waiting_bytes"`        // of the log that are not archived
	Archived   ballast.LSN `json:"archived"`             // as far as this engine was told
	Recycled   ballast.LSN `json:"recycled"`             // the last record that the log no longer holds; above Archived, the archive has a gap
	QueueSince time.Time   `json:"queue_since,omitzero"` // of the oldest flush that is not archived

	TotalChunks       int       `json:"total_chunks"`
	MissingChunks     int       `json:"missing_chunks"` // still to be fetched
	FetchError        string    `json:"fetch_error,omitempty"`
	FetchFailingSince time.Time `json:"fetch_failing_since,omitzero"`

	FullSince time.Time `json:"full_since,omitzero"` // the disk has been full since then
	Error     string    `json:"error,omitempty"`     // why nothing is accepted any more; "": all is well

	Fenced  string `json:"fenced,omitempty"`  // why another node is, or may be, the writer: everything fails, for ever
	Shut    bool   `json:"shut,omitempty"`    // the node's lease is past, and requests wait
	Session uint64 `json:"session,omitempty"` // of the node, that confirmed the epoch last

	Copies []stream.PeerStatus `json:"copies,omitempty"` // on other nodes, as the streams to them see it
	Stall  string              `json:"stall,omitempty"`  // why writes wait for another copy
}

// resizeRequest is the body of POST /resize.
type resizeRequest struct {
	Size int64 `json:"size"` // bytes
}

// failure is the body of an answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

// statusOf says with which HTTP status a sentinel travels.
var statusOf = []struct {
	err  error
	code int
}{
	{ballast.ErrInUse, http.StatusConflict},
	{ballast.ErrInvalid, http.StatusBadRequest},
	{ballast.ErrNotReady, http.StatusServiceUnavailable},
	{volume.ErrRecycled, http.StatusGone},
	{ErrUnsettled, http.StatusGatewayTimeout},
}

// control is the socket of an engine.
type control struct {
	server *http.Server
	folder *os.File // keeps the path in /proc/self/fd alive
	done   chan struct{}
}

// socketPath reaches a socket whose own path may be longer than the 107 bytes that
// an address holds: through an open descriptor of its folder.
func socketPath(folder *os.File) string { return pathThrough(folder.Fd()) }

func pathThrough(folder uintptr) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder, socketName)
}

// listen serves the socket. The one of a dead engine is removed: we hold the lock.
func (e *engine) listen() (_ *control, err error) {
	folder, err := os.Open(e.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, folder.Close())
		}
	}()
	if err := os.Remove(filepath.Join(e.cfg.Dir, socketName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", socketPath(folder))
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	// Its folder is root's alone; this is the second lock.
	if err := os.Chmod(filepath.Join(e.cfg.Dir, socketName), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	c := &control{server: &http.Server{Handler: e.routes(), ReadHeaderTimeout: 10 * time.Second}, folder: folder, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(l) // ends with close, and says only that
	}()
	return c, nil
}

// close lets the answers under way go out, also when ctx is over.
func (c *control) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = c.server.Shutdown(ctx) // what is cut off is not waited for by anybody
	<-c.done
	_ = c.folder.Close() // was only read
}

func (e *engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, e.status(), nil) })
	mux.HandleFunc("POST /resize", func(w http.ResponseWriter, r *http.Request) {
		var req resizeRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			answer(w, nil, fmt.Errorf("read request: %w: %w", err, ballast.ErrInvalid))
			return
		}
		answer(w, nil, e.volume.Resize(req.Size))
	})
	mux.HandleFunc("GET /changes", e.serveChanges)
	mux.HandleFunc("POST /archived", e.serveArchived)
	mux.HandleFunc("GET /snapshot", e.serveSnapshot)
	mux.HandleFunc("POST /members", e.serveMembers)
	mux.HandleFunc("POST /fence", e.serveFence)
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) { answer(w, nil, e.stop(r.Context())) })
	return mux
}

// stop returns when everything is flushed and closed.
func (e *engine) stop(ctx context.Context) error {
	if err := e.unmount(ctx); err != nil {
		return err
	}
	select {
	case <-e.stopped:
		return e.outcome
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *engine) status() Status {
	s := e.volume.Stats()
	st := Status{
		PID: os.Getpid(), Volume: e.volume.ID(), Epoch: s.Epoch, Lineage: e.volume.Lineage(), Size: s.Size,
		DeviceFile: DeviceFile(e.cfg.Dir), DeviceNumber: e.fuse, InUse: e.server.InUse(),
		Last: s.Last, Durable: s.Durable, Committed: s.Committed, Applied: s.Applied,
		LogBytes: s.LogBytes, LogCapacity: s.LogCapacity, ImageBytes: s.ImageBytes,
		Reads: s.Reads, Writes: s.Writes, Flushes: s.Flushes, Discards: s.Discards,
		ReadBytes: s.ReadBytes, WrittenBytes: s.Written, FullSince: s.FullSince,
		QueueBytes: s.QueueBytes, Waiting: s.Waiting, Archived: s.Archived, Recycled: s.Recycled, QueueSince: s.QueueSince,
		TotalChunks: s.TotalChunks, MissingChunks: s.MissingChunks, FetchFailingSince: s.FetchFailingSince,
	}
	st.Shut = e.gate.look() == gateShut // which notices when the time to give up has come
	st.Fenced, st.Session = e.gate.why(), e.gate.session.Load()
	if e.hub != nil {
		st.Copies = e.hub.Status()
	}
	if stall := e.stall.Load(); stall != nil {
		st.Stall = *stall
	}
	if s.FetchErr != nil {
		st.FetchError = s.FetchErr.Error()
	}
	if s.Err != nil {
		st.Error = s.Err.Error()
	}
	return st
}

// answer writes value, or err with the status that its sentinel travels with.
func answer(w http.ResponseWriter, value any, err error) {
	code := http.StatusOK
	if err != nil {
		code, value = http.StatusInternalServerError, failure{err.Error()}
		for _, s := range statusOf {
			if errors.Is(err, s.err) {
				code = s.code
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // the asker has gone
}
