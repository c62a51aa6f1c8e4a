package agent

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/driver/docker"
)

// dockerVolumes shows the node to Docker.
type dockerVolumes struct{ node *node }

var _ docker.Volumes = dockerVolumes{}

// Create implements [docker.Volumes].
func (d dockerVolumes) Create(ctx context.Context, name string, options map[string]string) error {
	_, err := d.node.Create(ctx, name, options)
	return err
}

// Get implements [docker.Volumes].
func (d dockerVolumes) Get(_ context.Context, name string) (docker.Volume, error) {
	v, err := d.node.Inspect(name)
	if err != nil {
		return docker.Volume{}, err
	}
	return dockerVolume(v), nil
}

// List implements [docker.Volumes].
func (d dockerVolumes) List(context.Context) ([]docker.Volume, error) {
	views, err := d.node.List(false)
	if err != nil {
		return nil, err
	}
	volumes := make([]docker.Volume, len(views))
	for i, v := range views {
		volumes[i] = dockerVolume(v)
	}
	return volumes, nil
}

// Remove implements [docker.Volumes].
func (d dockerVolumes) Remove(ctx context.Context, name string) error {
	_, err := d.node.Remove(ctx, name)
	return err
}

// Attach implements [docker.Volumes].
func (d dockerVolumes) Attach(ctx context.Context, name, holder string) (string, error) {
	return d.node.Attach(ctx, name, dockerHolder+holder)
}

// Detach implements [docker.Volumes].
func (d dockerVolumes) Detach(ctx context.Context, name, holder string) error {
	return d.node.Detach(ctx, name, dockerHolder+holder)
}

// dockerVolume is what docker volume inspect shows.
func dockerVolume(v volumeView) docker.Volume {
	status := map[string]any{
		"id":      string(v.record.ID),
		"state":   string(v.state),
		"size":    ballast.FormatSize(v.record.Spec.Size),
		"used":    fmt.Sprintf("%d MiB", v.usedBytes>>20),
		"fs":      string(v.record.Spec.FS),
		"class":   string(v.record.Spec.Class),
		"epoch":   uint64(v.record.Epoch),
		"node":    string(v.record.Primary),
		"holders": len(v.holders),
	}
	for _, c := range v.conditions {
		status["condition "+c.code] = c.title
	}
	return docker.Volume{Name: v.record.Name, Mountpoint: v.mountpoint, CreatedAt: v.record.CreatedAt, Status: status}
}
