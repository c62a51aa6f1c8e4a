// Package survey asks a Docker Engine what package audit needs to know: a few
// read-only requests over the Engine API, each container's changes among them.
// It changes nothing, and what it cannot look at it lists instead of failing.
package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ballast-io/ballast/internal/audit"
)

// errGone is the engine's answer for what was removed meanwhile.
var errGone = errors.New("gone")

// maxAnswer bounds in bytes what one answer of the engine may take in memory.
const maxAnswer = 256 << 20

// Docker describes what runs on the engine that client reaches. It fails only
// when the engine does not answer at all.
func Docker(ctx context.Context, client *http.Client) (audit.World, error) {
	s := surveyor{client: client}
	var info struct {
		Swarm struct {
			LocalNodeState   string
			ControlAvailable bool
		}
	}
	if err := s.get(ctx, "/info", &info); err != nil {
		return audit.World{}, fmt.Errorf("ask the Docker Engine: %w", err)
	}
	s.world.Swarm = info.Swarm.LocalNodeState == "active"
	s.world.Manager = s.world.Swarm && info.Swarm.ControlAvailable
	s.volumes(ctx)
	if s.world.Manager {
		s.nodes(ctx)
		s.services(ctx)
	}
	s.containers(ctx)
	return s.world, ctx.Err()
}

// surveyor collects the answers.
type surveyor struct {
	client *http.Client
	world  audit.World
}

// gap notes what could not be looked at.
func (s *surveyor) gap(what string, err error) {
	s.world.Gaps = append(s.world.Gaps, fmt.Sprintf("%s: %v", what, err))
}

// get decodes the engine's answer for path into v.
func (s *surveyor) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() // what matters was read
	body := io.LimitReader(res.Body, maxAnswer)
	switch {
	case res.StatusCode == http.StatusNotFound:
		return errGone
	case res.StatusCode != http.StatusOK:
		return refused(res.Status, body)
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// refused is the engine's own reason, or the status where it gives none.
func refused(status string, body io.Reader) error {
	var answer struct{ Message string }
	if err := json.NewDecoder(body).Decode(&answer); err != nil || answer.Message == "" {
		return errors.New(status)
	}
	return errors.New(answer.Message)
}

func (s *surveyor) volumes(ctx context.Context) {
	var answer struct {
		Volumes []struct {
			Name, Driver    string
			Labels, Options map[string]string
		}
	}
	if err := s.get(ctx, "/volumes", &answer); err != nil {
		s.gap("volumes", err)
	}
	for _, v := range answer.Volumes {
		_, anonymous := v.Labels["com.docker.volume.anonymous"]
		s.world.Volumes = append(s.world.Volumes, audit.Volume{Name: v.Name, Driver: v.Driver, Anonymous: anonymous, Options: v.Options})
	}
}

func (s *surveyor) containers(ctx context.Context) {
	var running []struct{ ID string }
	if err := s.get(ctx, "/containers/json", &running); err != nil {
		s.gap("containers", err)
	}
	for _, r := range running {
		switch c, err := s.container(ctx, r.ID); {
		case errors.Is(err, errGone): // removed meanwhile
		case err != nil:
			s.gap("container "+r.ID[:min(12, len(r.ID))], err)
		default:
			s.world.Containers = append(s.world.Containers, c)
		}
	}
}

func (s *surveyor) container(ctx context.Context, id string) (audit.Container, error) {
	var answer container
	if err := s.get(ctx, "/containers/"+url.PathEscape(id)+"/json?size=1", &answer); err != nil {
		return audit.Container{}, err
	}
	var changes []change
	if err := s.get(ctx, "/containers/"+url.PathEscape(id)+"/changes", &changes); err != nil {
		return audit.Container{}, err
	}
	c := answer.describe()
	for _, ch := range changes {
		c.Changed = append(c.Changed, audit.Change{Path: ch.Path, Deleted: ch.Kind == changeDeleted})
	}
	return c, nil
}

// image drops what only a registry wants to know of an image's name.
func image(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}
