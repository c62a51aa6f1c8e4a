package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
)

// fakeVolumes keeps volumes in memory. Set hook to change what a call does: it is
// called first, without the lock, and an error from it is the call's answer.
type fakeVolumes struct {
	hook func(ctx context.Context, call string) error

	mu      sync.Mutex // guards everything below
	options map[string]map[string]string
	holders map[string][]string // by volume, one entry for each Attach
	calls   []string
	status  map[string]any
}

func newFake(names ...string) *fakeVolumes {
	f := &fakeVolumes{options: map[string]map[string]string{}, holders: map[string][]string{}}
	for _, name := range names {
		f.options[name] = map[string]string{}
	}
	return f
}

func (f *fakeVolumes) enter(ctx context.Context, call string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.hook != nil {
		return f.hook(ctx, call)
	}
	return nil
}

func (f *fakeVolumes) find(name string) error {
	if _, ok := f.options[name]; !ok {
		return fmt.Errorf("no volume %q: %w", name, ballast.ErrNotFound)
	}
	return nil
}

func (f *fakeVolumes) Create(ctx context.Context, name string, options map[string]string) error {
	if err := f.enter(ctx, "create "+name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if have, ok := f.options[name]; ok && !maps.Equal(have, options) {
		return fmt.Errorf("volume %q has other options: %w", name, ballast.ErrExists)
	}
	f.options[name] = options
	return nil
}

func (f *fakeVolumes) Get(ctx context.Context, name string) (Volume, error) {
	if err := f.enter(ctx, "get "+name); err != nil {
		return Volume{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.volumeLocked(name), f.find(name)
}

func (f *fakeVolumes) volumeLocked(name string) Volume {
	v := Volume{Name: name, Status: f.status}
	if len(f.holders[name]) > 0 {
		v.Mountpoint = "/mnt/" + name
	}
	return v
}

func (f *fakeVolumes) List(ctx context.Context) ([]Volume, error) {
	if err := f.enter(ctx, "list"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var volumes []Volume
	for _, name := range slices.Sorted(maps.Keys(f.options)) {
		volumes = append(volumes, f.volumeLocked(name))
	}
	return volumes, nil
}

func (f *fakeVolumes) Remove(ctx context.Context, name string) error {
	if err := f.enter(ctx, "remove "+name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.holders[name]) > 0 {
		return fmt.Errorf("volume %q is held by %s: %w", name, f.holders[name][0], ballast.ErrInUse)
	}
	err := f.find(name)
	delete(f.options, name)
	return err
}

func (f *fakeVolumes) Attach(ctx context.Context, name, holder string) (string, error) {
	if err := f.enter(ctx, "attach "+name+" "+holder); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.find(name); err != nil {
		return "", err
	}
	f.holders[name] = append(f.holders[name], holder)
	return "/mnt/" + name, nil
}

func (f *fakeVolumes) Detach(ctx context.Context, name, holder string) error {
	if err := f.enter(ctx, "detach "+name+" "+holder); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.holders[name], holder)
	if i < 0 {
		return fmt.Errorf("no holder %q of volume %q: %w", holder, name, ballast.ErrNotFound)
	}
	f.holders[name] = slices.Delete(f.holders[name], i, i+1)
	return nil
}

func (f *fakeVolumes) held(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holders[name])
}

func (f *fakeVolumes) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}
