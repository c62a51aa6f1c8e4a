package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// maxPeerReply bounds what is read of another node's answer, in bytes, chunks apart.
const maxPeerReply = 1 << 20

// httpPeers implements peers over the nodes' one port.
type httpPeers struct {
	// client returns what speaks to a node, and the URL to begin with.
	client func(node ballast.NodeID) (*http.Client, string, error)
}

// prepareRequest is the body of POST /volumes/{volume}/prepare.
type prepareRequest struct {
	Epoch ballast.Epoch `json:"epoch"`
}

// Volumes implements peers.
func (p httpPeers) Volumes(node ballast.NodeID) ballastv1connect.VolumeServiceClient {
	c, url, err := p.client(node)
	if err != nil {
		c, url = &http.Client{Transport: unreachable{err}}, "https://"+string(node)
	}
	return ballastv1connect.NewVolumeServiceClient(c, url)
}

// unreachable fails every request.
type unreachable struct{ err error }

func (u unreachable) RoundTrip(*http.Request) (*http.Response, error) { return nil, u.err }

// Prepare implements peers.
func (p httpPeers) Prepare(ctx context.Context, node ballast.NodeID, id ballast.VolumeID, epoch ballast.Epoch) (receiver.Point, error) {
	var point receiver.Point
	err := p.call(ctx, node, http.MethodPost, fmt.Sprintf("/volumes/%s/prepare", id), prepareRequest{epoch}, &point)
	return point, err
}

// Copy implements peers.
func (p httpPeers) Copy(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) (copyState, error) {
	var st copyState
	err := p.call(ctx, node, http.MethodGet, fmt.Sprintf("/volumes/%s/copy", id), nil, &st)
	return st, err
}

// Purge implements peers.
func (p httpPeers) Purge(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) error {
	return p.call(ctx, node, http.MethodPost, fmt.Sprintf("/volumes/%s/purge", id), nil, nil)
}

// Owner implements peers.
func (p httpPeers) Owner(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) (string, error) {
	var reply ownerReply
	err := p.call(ctx, node, http.MethodGet, fmt.Sprintf("/volumes/%s/owner", id), nil, &reply)
	return reply.Owner, err
}

// Certificate implements peers.
func (p httpPeers) Certificate(ctx context.Context, node ballast.NodeID) (time.Time, error) {
	var reply certificateReply
	err := p.call(ctx, node, http.MethodGet, "/certificate", nil, &reply)
	return reply.Until, err
}

// Chunk implements peers.
func (p httpPeers) Chunk(ctx context.Context, node ballast.NodeID, id ballast.VolumeID, leader volume.Beginning, chunk int, data []byte) error {
	resp, err := p.do(ctx, node, http.MethodGet, fmt.Sprintf("/volumes/%s/chunks/%d?epoch=%d&from=%d&after=%d", id, chunk, leader.Epoch, leader.From, leader.After), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // was only read
	if resp.ContentLength != int64(len(data)) {
		return fmt.Errorf("it answered with %d bytes; a chunk has %d", resp.ContentLength, len(data))
	}
	_, err = io.ReadFull(resp.Body, data)
	return err
}

// call makes one request and reads the answer into result, unless that is nil.
func (p httpPeers) call(ctx context.Context, node ballast.NodeID, method, path string, body, result any) error {
	resp, err := p.do(ctx, node, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // was only read
	if result == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxPeerReply)).Decode(result)
}

// do makes one request; the caller must close the body of its answer.
func (p httpPeers) do(ctx context.Context, node ballast.NodeID, method, path string, body any) (*http.Response, error) {
	c, base, err := p.client(node)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, &content)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("it cannot be asked: %w", withoutURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close() // was only read
		return nil, refusedBy(resp)
	}
	return resp, nil
}

// withoutURL leaves out of an error what was asked for, which says nothing to a person.
func withoutURL(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it does not answer: %w", ballast.ErrNotReady)
	}
	return err
}

// refusedBy turns another node's answer back into the error that it was.
func refusedBy(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerReply))
	if err != nil {
		return fmt.Errorf("it answered %s: %w", resp.Status, err)
	}
	said := peerError{text: fmt.Sprintf("%s (%s)", strings.TrimSpace(string(text)), resp.Status)}
	for _, s := range statuses {
		if s.code == resp.StatusCode {
			said.sentinel = s.err
			break
		}
	}
	return said
}

// peerError is another node's error, in its words.
type peerError struct {
	text     string
	sentinel error
}

func (e peerError) Error() string { return e.text }
func (e peerError) Unwrap() error { return e.sentinel }

// errAlone says that there is no other node to ask.
var errAlone = fmt.Errorf("this node is on its own: %w", ballast.ErrNotFound)
