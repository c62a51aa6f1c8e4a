// Package agentapi calls the API of a lab machine's agent from outside of the machine.
package agentapi

import (
	"context"
	"net"
	"net/http"
	"slices"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/test/lab"
)

// Client reaches one agent. It may be used by several goroutines, and before the agent
// runs and after.
type Client struct {
	Volumes ballastv1connect.VolumeServiceClient
	Nodes   ballastv1connect.NodeServiceClient
}

// Of returns a client for a machine's agent.
func Of(m *lab.Machine) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", m.Outside(m.AgentSocket()))
	}
	// One connection per call: none of a former life is used again.
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return &Client{
		Volumes: ballastv1connect.NewVolumeServiceClient(c, "http://ballast"),
		Nodes:   ballastv1connect.NewNodeServiceClient(c, "http://ballast"),
	}
}

// Create makes a volume.
func (c *Client) Create(ctx context.Context, name string, options map[string]string) (*v1.Volume, error) {
	r, err := c.Volumes.Create(ctx, connect.NewRequest(&v1.CreateRequest{Name: name, Options: options}))
	if err != nil {
		return nil, err
	}
	return r.Msg.GetVolume(), nil
}

// Attach attaches a volume on the agent's node and returns its mountpoint, as the machine
// sees it.
func (c *Client) Attach(ctx context.Context, name, holder string) (string, error) {
	r, err := c.Volumes.Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: name, Holder: holder}))
	if err != nil {
		return "", err
	}
	return r.Msg.GetMountpoint(), nil
}

// Detach ends a hold.
func (c *Client) Detach(ctx context.Context, name, holder string) error {
	_, err := c.Volumes.Detach(ctx, connect.NewRequest(&v1.DetachRequest{Name: name, Holder: holder}))
	return err
}

// Inspect returns all that the agent knows of a volume.
func (c *Client) Inspect(ctx context.Context, name string) (*v1.Volume, error) {
	r, err := c.Volumes.Inspect(ctx, connect.NewRequest(&v1.InspectRequest{Name: name}))
	if err != nil {
		return nil, err
	}
	return r.Msg.GetVolume(), nil
}

// InSync are the nodes whose copies of a volume are in sync, sorted.
func InSync(v *v1.Volume) []string {
	var nodes []string
	for _, c := range v.GetCopies() {
		if c.GetInSync() {
			nodes = append(nodes, c.GetNode())
		}
	}
	slices.Sort(nodes)
	return nodes
}
