package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// archivedRequest is the body of POST /archived.
type archivedRequest struct {
	LSN ballast.LSN `json:"lsn"`
}

// serveChanges answers GET /changes?after=&limit= with an encoded delta, or 204 when
// nothing was written since.
func (e *engine) serveChanges(w http.ResponseWriter, r *http.Request) {
	after, err1 := number(r, "after")
	limit, err2 := number(r, "limit")
	if err1 != nil || err2 != nil {
		answer(w, nil, fmt.Errorf("read request %s: %w", r.URL.RawQuery, ballast.ErrInvalid))
		return
	}
	d, err := e.volume.Since(ballast.LSN(after), int64(min(limit, delta.MaxData)))
	if err == nil && d != nil {
		err = d.Validate() // while the answer can still be an error
	}
	switch {
	case err != nil:
		answer(w, nil, err)
	case d == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(d.EncodedSize(), 10))
		_ = d.Encode(w) // the asker has gone
	}
}

func (e *engine) serveArchived(w http.ResponseWriter, r *http.Request) {
	var req archivedRequest
	err := json.NewDecoder(r.Body).Decode(&req)
	if err != nil {
		err = fmt.Errorf("read request: %w: %w", err, ballast.ErrInvalid)
	} else {
		e.volume.Archived(req.LSN)
	}
	answer(w, nil, err)
}

// number reads a parameter of a request's address.
func number(r *http.Request, name string) (uint64, error) {
	return strconv.ParseUint(r.URL.Query().Get(name), 10, 64)
}

// Changes returns what the durable records after an LSN made of the volume, up to
// about limit bytes of data; nil when there are none. It wraps [volume.ErrRecycled]
// when the log no longer holds them.
func (c *Client) Changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error) {
	d, err := c.changes(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("ask engine in %s for changes: %w", c.dir, err)
	}
	return d, nil
}

func (c *Client) changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error) {
	resp, err := c.do(ctx, http.MethodGet, fmt.Sprintf("/changes?after=%d&limit=%d", after, max(limit, 0)), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // was only read
	switch resp.StatusCode {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, rejected(resp)
	}
	d, err := delta.Decode(resp.Body)
	if err != nil {
		return nil, err
	}
	if d.After != after {
		return nil, fmt.Errorf("it answered with those after LSN %d, not %d", d.After, after)
	}
	return d, nil
}

// Archived tells the engine that the archive has every record up to lsn.
func (c *Client) Archived(ctx context.Context, lsn ballast.LSN) error {
	if err := c.call(ctx, http.MethodPost, "/archived", archivedRequest{lsn}, nil); err != nil {
		return fmt.Errorf("tell engine in %s what is archived: %w", c.dir, err)
	}
	return nil
}
