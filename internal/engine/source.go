package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// source fetches chunks that the volume lacks from the node's agent, which asks the
// archive. Every call is one attempt: the volume knows how long it can wait, and says
// meanwhile that fetching fails. An agent that restarts is found at the same path.
type source struct {
	volume ballast.VolumeID
	http   *http.Client
}

func newSource(socket string, id ballast.VolumeID) *source {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, socket) }
	return &source{volume: id, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second,
	}}}
}

// dialSocket connects to a socket whose path may be longer than an address can be.
func dialSocket(ctx context.Context, socket string) (net.Conn, error) {
	folder, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer folder.Close() // was only read
	return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(socket)))
}

// Fetch implements [volume.Source]. It wraps [ballast.ErrNotFound] when the agent has
// nowhere to fetch the chunk from.
func (s *source) Fetch(ctx context.Context, chunk int, p []byte) error {
	if err := s.fetch(ctx, chunk, p); err != nil {
		return fmt.Errorf("fetch chunk %d from the agent: %w", chunk, err)
	}
	return nil
}

func (s *source) fetch(ctx context.Context, chunk int, p []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://agent/chunks/%s/%d", s.volume, chunk), nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if resp.ContentLength != int64(len(p)) {
		return fmt.Errorf("it answered with %d bytes; a chunk has %d", resp.ContentLength, len(p))
	}
	_, err = io.ReadFull(resp.Body, p)
	return err
}

// refusal is the agent's reason, in its words.
func refusal(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	if err != nil {
		return fmt.Errorf("it answered %s: %w", resp.Status, err)
	}
	r := remote{text: fmt.Sprintf("%s (%s)", strings.TrimSpace(string(text)), resp.Status)}
	switch resp.StatusCode {
	case http.StatusNotFound:
		r.sentinel = ballast.ErrNotFound
	case http.StatusBadRequest:
		r.sentinel = ballast.ErrInvalid
	case http.StatusConflict:
		r.sentinel = ballast.ErrInUse
	}
	return r
}
