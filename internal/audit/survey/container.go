package survey

import (
	"maps"
	"slices"
	"strings"

	"github.com/ballast-io/ballast/internal/audit"
)

// container is the engine's answer to "inspect", as far as it matters here.
type container struct {
	ID     string
	Name   string
	Path   string
	Args   []string
	SizeRw int64
	Config struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		AutoRemove bool
		Tmpfs      map[string]string
	}
	Mounts []struct {
		Type, Name, Source, Destination, Driver string
		RW                                      bool
	}
}

// change is a path of the writable layer.
type change struct {
	Path string
	Kind int
}

const changeDeleted = 2

func (c container) describe() audit.Container {
	d := audit.Container{
		ID:           c.ID,
		Name:         strings.TrimPrefix(c.Name, "/"),
		Image:        image(c.Config.Image),
		Service:      c.Config.Labels["com.docker.swarm.service.name"],
		Compose:      c.Config.Labels["com.docker.compose.service"],
		Args:         append([]string{c.Path}, c.Args...),
		AutoRemove:   c.HostConfig.AutoRemove,
		Tmpfs:        slices.Sorted(maps.Keys(c.HostConfig.Tmpfs)),
		WrittenBytes: c.SizeRw,
	}
	for _, m := range c.Mounts {
		switch m.Type {
		case "bind", "volume":
			d.Mounts = append(d.Mounts, audit.Mount{
				Kind: audit.MountKind(m.Type), Name: m.Name, Source: m.Source, Target: m.Destination, Driver: m.Driver, ReadOnly: !m.RW,
			})
		default: // in memory, or a pipe
			d.Tmpfs = append(d.Tmpfs, m.Destination)
		}
	}
	return d
}
