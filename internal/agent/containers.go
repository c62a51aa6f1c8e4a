package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// containers tells which volumes the containers of this machine use.
type containers interface {
	// UsedVolumes returns the names of the volumes that a container uses which
	// runs or may be about to. After an error nothing is known.
	UsedVolumes(ctx context.Context) (map[string]bool, error)
	// KillUsers kills every running container that uses the volume of that name, which is
	// mounted at mountpoint, and returns their names.
	KillUsers(ctx context.Context, volume, mountpoint string) ([]string, error)
	// StartUsers starts every container that does not run and is to be kept running, by its restart
	// policy, if its last start failed for the volume of that name or it uses it and is among killed.
	// It returns the names of those that it started.
	StartUsers(ctx context.Context, volume string, killed []string) ([]string, error)
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

// runningStatus are the states of a container in which something of it runs.
const runningStatus = `{"status":["running","paused","restarting"]}`

// KillUsers implements containers.
func (d dockerEngine) KillUsers(ctx context.Context, volume, mountpoint string) (killed []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dockerPatience)
	defer cancel()
	body, err := d.get(ctx, "/containers/json?filters="+url.QueryEscape(runningStatus))
	if err != nil {
		return nil, fmt.Errorf("ask docker who uses volume %q: %w", volume, err)
	}
	users, err := decodeUsers(body, usesAnyOf(volume, mountpoint))
	if err != nil {
		return nil, err
	}
	for id, name := range users {
		if _, e := d.do(ctx, http.MethodPost, "/containers/"+id+"/kill"); e != nil {
			err = errors.Join(err, fmt.Errorf("kill container %s: %w", name, e))
			continue
		}
		killed = append(killed, name)
	}
	slices.Sort(killed)
	return killed, err
}

// dockerMount is what a container has mounted.
type dockerMount struct{ Type, Name, Source, Driver string }

// is reports whether it is the volume of that name, and not a local one.
func (m dockerMount) is(volume string) bool {
	return m.Type == "volume" && m.Name == volume && m.Driver != "local"
}

// usesAnyOf reports what is a volume that is mounted at mountpoint, or a folder of it.
func usesAnyOf(volume, mountpoint string) func(dockerMount) bool {
	return func(m dockerMount) bool {
		return m.is(volume) || m.Source == mountpoint || strings.HasPrefix(m.Source, mountpoint+"/")
	}
}

// decodeUsers returns, by id, the names of the containers in Docker's list that have something
// mounted of which uses says so.
func decodeUsers(body []byte, uses func(dockerMount) bool) (map[string]string, error) {
	var list []struct {
		ID     string `json:"Id"`
		Names  []string
		Mounts []dockerMount
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("decode docker's list of containers: %w", err)
	}
	users := map[string]string{}
	for _, c := range list {
		if len(c.ID) != 64 || strings.Trim(c.ID, "0123456789abcdef") != "" {
			continue // it becomes part of a path
		}
		if slices.ContainsFunc(c.Mounts, uses) {
			users[c.ID] = strings.TrimPrefix(strings.Join(c.Names, " "), "/")
		}
	}
	return users, nil
}

func (d dockerEngine) get(ctx context.Context, path string) ([]byte, error) {
	return d.do(ctx, http.MethodGet, path)
}

func (d dockerEngine) do(ctx context.Context, method, path string) ([]byte, error) {
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", d.socket)
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusNotModified {
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

// KillUsers implements containers: there are none.
func (nobodyToAsk) KillUsers(context.Context, string, string) ([]string, error) { return nil, nil }

// StartUsers implements containers: there are none.
func (nobodyToAsk) StartUsers(context.Context, string, []string) ([]string, error) { return nil, nil }
