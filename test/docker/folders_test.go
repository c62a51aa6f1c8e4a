package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ballast-io/ballast"
	driver "github.com/ballast-io/ballast/internal/driver/docker"
)

// folders is a volume driver of plain folders behind the real protocol handler.
// It counts what Docker asks for, and does what a test scripts.
type folders struct {
	root string // constant: where the volumes are

	mu      sync.Mutex // guards everything below
	options map[string]map[string]string
	holders map[string][]string
	ids     []string       // of every attach, in order
	calls   map[string]int // by path, as they arrive
	empty   map[string]int // those of them without a body
	busy    int            // calls under way
	hook    func(ctx context.Context, call, name string) error
	drop    func(path string) bool // whether to lose the connection of a call
}

func newFolders(root string) *folders {
	f := &folders{root: root}
	f.reset()
	return f
}

// reset makes the driver behave, and forget everything but its folders.
func (f *folders) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.options, f.holders = map[string]map[string]string{}, map[string][]string{}
	f.calls, f.empty, f.ids = map[string]int{}, map[string]int{}, nil
	f.hook, f.drop = nil, nil
}

// script sets what a test wants to happen in a call before it is carried out; an
// error from it is the call's answer.
func (f *folders) script(hook func(ctx context.Context, call, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// lose makes the connection of a call break, once its request has arrived.
func (f *folders) lose(drop func(path string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop = drop
}

// count returns how often a call arrived, and how often of that without a body.
func (f *folders) count(call string) (all, empty int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls["/VolumeDriver."+call], f.empty["/VolumeDriver."+call]
}

// run answers on a listener until the context ends.
func (f *folders) run(ctx context.Context, l net.Listener, opts driver.Options) error {
	srv := &http.Server{Handler: f.watch(driver.New(f, opts))}
	srv.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // Serve tells
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// watch counts calls and loses connections on their way to the handler.
func (f *folders) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls[r.URL.Path]++
		if r.ContentLength == 0 {
			f.empty[r.URL.Path]++
		}
		drop := f.drop != nil && f.drop(r.URL.Path)
		f.mu.Unlock()
		if drop {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func (f *folders) enter(ctx context.Context, call, name string) error {
	f.mu.Lock()
	hook := f.hook
	f.busy++
	f.mu.Unlock()
	defer f.leave()
	if hook == nil {
		return nil
	}
	return hook(ctx, call, name)
}

func (f *folders) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
}

func (f *folders) path(name string) string { return filepath.Join(f.root, name) }

func (f *folders) Create(ctx context.Context, name string, options map[string]string) error {
	if err := f.enter(ctx, "create", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if have, ok := f.options[name]; ok && !maps.Equal(have, options) {
		return fmt.Errorf("volume %q has other options: %w", name, ballast.ErrExists)
	}
	f.options[name] = options
	return os.MkdirAll(f.path(name), 0o755)
}

func (f *folders) Get(ctx context.Context, name string) (driver.Volume, error) {
	if err := f.enter(ctx, "get", name); err != nil {
		return driver.Volume{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.options[name]; !ok {
		return driver.Volume{}, fmt.Errorf("no volume %q: %w", name, ballast.ErrNotFound)
	}
	return f.volumeLocked(name), nil
}

func (f *folders) volumeLocked(name string) driver.Volume {
	v := driver.Volume{Name: name, Status: map[string]any{"class": "folder"}}
	if len(f.holders[name]) > 0 {
		v.Mountpoint = f.path(name)
	}
	return v
}

func (f *folders) List(ctx context.Context) ([]driver.Volume, error) {
	if err := f.enter(ctx, "list", ""); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []driver.Volume
	for _, name := range slices.Sorted(maps.Keys(f.options)) {
		all = append(all, f.volumeLocked(name))
	}
	return all, nil
}

func (f *folders) Remove(ctx context.Context, name string) error {
	if err := f.enter(ctx, "remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if held := f.holders[name]; len(held) > 0 {
		return fmt.Errorf("volume %q is held by %s: %w", name, strings.Join(held, ", "), ballast.ErrInUse)
	}
	delete(f.options, name)
	return os.RemoveAll(f.path(name))
}

func (f *folders) Attach(ctx context.Context, name, holder string) (string, error) {
	if err := f.enter(ctx, "attach", name); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.options[name]; !ok {
		return "", fmt.Errorf("no volume %q: %w", name, ballast.ErrNotFound)
	}
	f.ids = append(f.ids, holder)
	f.holders[name] = append(f.holders[name], holder)
	return f.path(name), nil
}

func (f *folders) Detach(ctx context.Context, name, holder string) error {
	if err := f.enter(ctx, "detach", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.holders[name], holder); i >= 0 {
		f.holders[name] = slices.Delete(f.holders[name], i, i+1)
	}
	return nil
}

// held returns how often a volume is held.
func (f *folders) held(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holders[name])
}
