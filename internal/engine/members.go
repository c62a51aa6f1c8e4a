package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// maxMembers bounds what is read of a volume's members, in bytes.
const maxMembers = 60 << 10

// fenceRequest is the body of POST /fence.
type fenceRequest struct {
	Reason string `json:"reason"`
}

// serveMembers takes in what the volume's record says of its copies.
func (e *engine) serveMembers(w http.ResponseWriter, r *http.Request) {
	var m replica.Members
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMembers)).Decode(&m); err != nil {
		answer(w, nil, fmt.Errorf("read request: %w: %w", err, ballast.ErrInvalid))
		return
	}
	answer(w, nil, e.setMembers(m))
}

// serveFence ends what the engine serves, for ever.
func (e *engine) serveFence(w http.ResponseWriter, r *http.Request) {
	var req fenceRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMembers)).Decode(&req); err != nil {
		answer(w, nil, fmt.Errorf("read request: %w: %w", err, ballast.ErrInvalid))
		return
	}
	e.gate.fence(req.Reason)
	answer(w, nil, nil)
}

// setMembers tells the gate first: a copy counts as one that may claim the volume before it
// is sent anything.
func (e *engine) setMembers(m replica.Members) error {
	changed, err := e.gate.setMembers(m)
	if err == nil && changed && e.hub != nil {
		e.hub.SetMembers(m)
	}
	return err
}

// SetMembers tells the engine what its volume's record says of the copies. One that names
// another holder fences it off.
func (c *Client) SetMembers(ctx context.Context, m replica.Members) error {
	if err := c.call(ctx, http.MethodPost, "/members", m, nil); err != nil {
		return fmt.Errorf("tell engine in %s of its volume's copies: %w", c.dir, err)
	}
	return nil
}

// Fence makes the engine fail every request from now on, for ever, with the reason in its
// status.
func (c *Client) Fence(ctx context.Context, reason string) error {
	if err := c.call(ctx, http.MethodPost, "/fence", fenceRequest{reason}, nil); err != nil {
		return fmt.Errorf("fence engine in %s: %w", c.dir, err)
	}
	return nil
}

// membersVariable names the descriptor from which an engine reads its volume's members at
// the start: an argument would be cut where there are many, and be seen by everybody.
const (
	membersVariable = "BALLAST_MEMBERS_FD"
	membersFD       = 4
)

// membersPipe returns a pipe from which m can be read. It holds what is written at once.
func membersPipe(m replica.Members) (_ *os.File, err error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(data) > maxMembers {
		return nil, fmt.Errorf("the volume's members take %d bytes, more than the %d they can have: %w", len(data), maxMembers, ballast.ErrInvalid)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = write.Write(data)
	if err = errors.Join(err, write.Close()); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	return read, nil
}

// inheritedMembers returns what the one who spawned this engine has passed on; what was
// given otherwise stays when there is nothing.
func inheritedMembers(given replica.Members) (replica.Members, error) {
	if os.Getenv(membersVariable) != strconv.Itoa(membersFD) {
		return given, nil
	}
	_ = os.Unsetenv(membersVariable) // it is for this process only; the name is well-formed
	f := os.NewFile(membersFD, "members")
	defer f.Close() // was only read
	var m replica.Members
	if err := json.NewDecoder(io.LimitReader(f, maxMembers)).Decode(&m); err != nil {
		return m, fmt.Errorf("read the volume's members: %w", err)
	}
	return m, nil
}
