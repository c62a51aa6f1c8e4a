package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// ErrUnknownOutcome says that a change of the record was asked for, and that nobody can say
// whether it happened.
var ErrUnknownOutcome = errors.New("the outcome is not known")

// records asks the node's agent to change the volume's record.
type records struct {
	volume ballast.VolumeID
	gate   *gate
	http   *http.Client
}

func newRecords(socket string, id ballast.VolumeID, g *gate) *records {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, socket) }
	return &records{volume: id, gate: g, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second,
	}}}
}

// Change asks for a copy to be added or removed, and returns the record as it is then. From
// the moment of asking, a copy to be added counts as one that can claim the volume. The
// error wraps [ErrUnknownOutcome] unless it is certain that nothing was changed.
func (r *records) Change(ctx context.Context, c replica.Change) (replica.Members, error) {
	if c.Add != "" {
		r.gate.expect()
	}
	m, err := r.change(ctx, c)
	if err != nil {
		return m, fmt.Errorf("change the in-sync copies of volume %s: %w", r.volume, err)
	}
	_, err = r.gate.setMembers(m)
	return m, err
}

func (r *records) change(ctx context.Context, c replica.Change) (m replica.Members, err error) {
	body, err := json.Marshal(c)
	if err != nil {
		return m, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://agent/volumes/%s/change", r.volume), bytes.NewReader(body))
	if err != nil {
		return m, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return m, err // nobody was asked
		}
		return m, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK {
		err := refusal(resp)
		if resp.StatusCode >= http.StatusInternalServerError {
			err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
		return m, err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxMembers)).Decode(&m); err != nil {
		return m, fmt.Errorf("%w: the answer was cut short: %w", ErrUnknownOutcome, err)
	}
	return m, nil
}
