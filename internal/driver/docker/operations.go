package docker

import (
	"context"
	"errors"
	"time"

	"github.com/ballast-io/ballast"
)

// operation is one call of the protocol.
type operation struct {
	path   string
	needs  fields
	budget time.Duration
	do     func(context.Context, request) (response, error)
	undo   func(context.Context, request) error // takes back a do that nobody was told of; nil: nothing to take back
	sure   bool                                 // answers only what is known, and drops the connection otherwise (D1)
}

func (d *Driver) operations() []operation {
	short, long := d.opts.Short, d.opts.Long
	return []operation{
		{path: "Plugin.Activate", budget: short, do: activate},
		{path: "VolumeDriver.Capabilities", budget: short, do: scope},
		{path: "VolumeDriver.Create", needs: fieldName, budget: long, do: d.create},
		{path: "VolumeDriver.Get", needs: fieldName, budget: short, do: d.get, sure: true},
		{path: "VolumeDriver.List", budget: short, do: d.list},
		{path: "VolumeDriver.Mount", needs: fieldName | fieldID, budget: long, do: d.mount, undo: d.detach},
		{path: "VolumeDriver.Path", needs: fieldName, budget: short, do: d.path},
		{path: "VolumeDriver.Remove", needs: fieldName, budget: short, do: d.remove},
		{path: "VolumeDriver.Unmount", needs: fieldName | fieldID, budget: short, do: d.unmount},
	}
}

// settled says whether err is an answer, rather than a reason to ask again.
func (op operation) settled(err error) bool {
	if op.sure {
		return err == nil || errors.Is(err, ballast.ErrNotFound) || errors.Is(err, ballast.ErrInvalid)
	}
	return !errors.Is(err, ballast.ErrNotReady)
}

// activate answers without looking at anything: Docker waits for it without limit.
func activate(context.Context, request) (response, error) {
	return response{Implements: []string{"VolumeDriver"}}, nil
}

// scope says that a name means the same volume on every node.
func scope(context.Context, request) (response, error) {
	return response{Capabilities: &capabilities{Scope: "global"}}, nil
}

func (d *Driver) create(ctx context.Context, req request) (response, error) {
	return response{}, d.volumes.Create(ctx, req.Name, req.Opts)
}

func (d *Driver) get(ctx context.Context, req request) (response, error) {
	v, err := d.volumes.Get(ctx, req.Name)
	if err != nil {
		return response{}, err
	}
	body := volumeBody(v)
	return response{Volume: &body}, nil
}

func (d *Driver) list(ctx context.Context, _ request) (response, error) {
	volumes, err := d.volumes.List(ctx)
	if err != nil {
		return response{}, err
	}
	resp := response{Volumes: make([]volumeBody, len(volumes))}
	for i, v := range volumes {
		resp.Volumes[i] = volumeBody{Name: v.Name, Mountpoint: v.Mountpoint, CreatedAt: v.CreatedAt}
	}
	return resp, nil
}

func (d *Driver) mount(ctx context.Context, req request) (response, error) {
	mountpoint, err := d.volumes.Attach(ctx, req.Name, req.ID)
	return response{Mountpoint: mountpoint}, err
}

// path answers with nothing for a volume that is not mounted, which is no error.
func (d *Driver) path(ctx context.Context, req request) (response, error) {
	v, err := d.volumes.Get(ctx, req.Name)
	return response{Mountpoint: v.Mountpoint}, err
}

func (d *Driver) remove(ctx context.Context, req request) (response, error) {
	return response{}, ignoreNotFound(d.volumes.Remove(ctx, req.Name)) // D6
}

func (d *Driver) unmount(ctx context.Context, req request) (response, error) {
	return response{}, d.detach(ctx, req)
}

func (d *Driver) detach(ctx context.Context, req request) error {
	return ignoreNotFound(d.volumes.Detach(ctx, req.Name, req.ID)) // D6
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ballast.ErrNotFound) {
		return nil
	}
	return err
}
