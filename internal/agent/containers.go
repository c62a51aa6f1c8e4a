package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// containers tells which volumes the containers of this machine use.
type containers interface {
	// UsedVolumes returns the names of the volumes that a container uses which
	// runs or may be about to. After an error nothing is known.
	UsedVolumes(ctx context.Context) (map[string]bool, error)
}

// dockerEngine asks a Docker Engine, over its Unix socket.
type dockerEngine struct{ socket string }

const (
	dockerPatience = 10 * time.Second
	maxDockerReply = 256 << 20
)

// inUseStatus are the states of a container in which its volumes count as used. A
// container is in created or exited while it starts; that is what holdGrace is for.
const inUseStatus = `{"status":["created","running","paused","restarting","removing"]}`

// UsedVolumes implements containers.
func (d dockerEngine) UsedVolumes(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerPatience)
	defer cancel()
	body, err := d.get(ctx, "/containers/json?all=1&filters="+url.QueryEscape(inUseStatus))
	if err != nil {
		return nil, fmt.Errorf("ask docker who uses volumes: %w", err)
	}
	return decodeUsedVolumes(body)
}

func (d dockerEngine) get(ctx context.Context, path string) ([]byte, error) {
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", d.socket)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("docker answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDockerReply+1))
	if err == nil && len(body) > maxDockerReply {
		err = fmt.Errorf("docker's answer has more than %d bytes", maxDockerReply)
	}
	return body, err
}

// decodeUsedVolumes reads Docker's list of containers. A volume of another driver
// that has the same name counts too: too many is the safe side.
func decodeUsedVolumes(body []byte) (map[string]bool, error) {
	var list []struct {
		Mounts []struct{ Type, Name string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("decode docker's list of containers: %w", err)
	}
	if list == nil {
		return nil, fmt.Errorf("decode docker's list of containers: it is no list")
	}
	used := map[string]bool{}
	for _, c := range list {
		for _, m := range c.Mounts {
			if m.Name != "" {
				used[m.Name] = true
			}
		}
	}
	return used, nil
}

// nobodyToAsk stands for a node without Docker.
type nobodyToAsk struct{}

// UsedVolumes implements containers: nothing is known, so every hold counts.
func (nobodyToAsk) UsedVolumes(context.Context) (map[string]bool, error) {
	return nil, fmt.Errorf("no docker engine to ask")
}
