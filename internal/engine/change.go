package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// records asks the node's agent to change the volume's record.
type records struct {
	volume ballast.VolumeID
	gate   *gate
	branch func() replica.Branch // that this engine is on
	http   *http.Client
}

func newRecords(socket string, id ballast.VolumeID, g *gate, branch func() replica.Branch) *records {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, socket) }
	return &records{volume: id, gate: g, branch: branch, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second,
	}}}
}

// Change asks for a copy to be added or removed, and returns the record as it is then. From
// the moment of asking, a copy to be added counts as one that can claim the volume (N9). An
// error that wraps [ballast.ErrInvalid], [ballast.ErrNotFound] or [ballast.ErrInUse] says that
// nothing was changed; after any other nobody knows.
func (r *records) Change(ctx context.Context, c replica.Change) (replica.Members, error) {
	if c.Add != "" {
		r.gate.expect()
	}
	m, err := r.change(ctx, c)
	if err != nil {
		return m, fmt.Errorf("change the in-sync copies of volume %s: %w", r.volume, err)
	}
	_, err = r.gate.setMembers(m)
	m.Session = max(m.Session, r.gate.session.Load()) // the agent may not have heard yet that this engine serves
	return m, err
}

func (r *records) change(ctx context.Context, c replica.Change) (m replica.Members, err error) {
	body, err := json.Marshal(replica.Request{Change: c, Branch: r.branch()})
	if err != nil {
		return m, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://agent/volumes/%s/change", r.volume), bytes.NewReader(body))
	if err != nil {
		return m, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK {
		return m, refusal(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxMembers)).Decode(&m); err != nil {
		return m, fmt.Errorf("the answer was cut short: %w", err)
	}
	return m, nil
}
