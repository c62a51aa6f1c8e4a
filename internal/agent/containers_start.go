package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// notRunningStatus are the states of a container that does not run and could be started.
const notRunningStatus = `{"status":["created","exited"]}`

// startPatience is how long Docker may take to start a container: its volume is attached meanwhile.
const startPatience = attachBudget + 20*time.Second

// StartUsers implements containers.
func (d dockerEngine) StartUsers(ctx context.Context, volume string, killed []string) (started []string, err error) {
	asking, cancel := context.WithTimeout(ctx, dockerPatience)
	defer cancel()
	body, err := d.get(asking, "/containers/json?all=1&filters="+url.QueryEscape(notRunningStatus))
	if err != nil {
		return nil, fmt.Errorf("ask docker who waits for volume %q: %w", volume, err)
	}
	// By name only: what has a folder of the mountpoint bound would be started on an empty one.
	users, err := decodeUsers(body, func(m dockerMount) bool { return m.is(volume) })
	if err != nil {
		return nil, err
	}
	for id, name := range users {
		body, e := d.get(asking, "/containers/"+id+"/json")
		if e == nil && !waitsFor(body, volume, slices.Contains(killed, name)) {
			continue
		}
		if e == nil {
			e = d.start(ctx, id)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("start container %s: %w", name, e))
			continue
		}
		started = append(started, name)
	}
	slices.Sort(started)
	return started, err
}

func (d dockerEngine) start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	_, err := d.do(ctx, http.MethodPost, "/containers/"+id+"/start")
	return err
}

// waitsFor reports whether a container, as Docker describes it, would run if it could have the
// volume: it is to be kept running, and was killed for the volume's sake, or not started for it.
func waitsFor(body []byte, volume string, killed bool) bool {
	var c struct {
		State      struct{ Error string }
		HostConfig struct{ RestartPolicy struct{ Name string } }
	}
	if json.Unmarshal(body, &c) != nil {
		return false
	}
	switch c.HostConfig.RestartPolicy.Name {
	case "always", "unless-stopped", "on-failure":
		return killed || strings.Contains(c.State.Error, fmt.Sprintf("attach volume %q: ", volume))
	}
	return false
}
