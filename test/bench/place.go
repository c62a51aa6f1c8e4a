package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/lab"
)

// Names of places.
const (
	plainName   = "plain"
	ballastName = "ballast"
	peerOne     = "gluster1"
	peerTwo     = "gluster2"
)

var placeNames = []string{plainName, ballastName, peerOne, peerTwo}

// Folders of the machine. Everybody may walk through them, as PostgreSQL must.
const (
	placesDir = "/run/bench"
	sockets   = placesDir + "/sockets"
)

// place is a folder to work in. All are on the same disk.
type place struct {
	name    string
	dir     string // as seen inside the machine
	backing string // folder of the host that holds what is behind it
	m       *lab.Machine

	quiet func(context.Context) error // waits until it has nothing left to do; nil: it never has
}

func (p *place) isPeer() bool { return p.name == peerOne || p.name == peerTwo }

// settle returns when nothing that was done before still keeps the disk busy.
func (p *place) settle(ctx context.Context) error {
	if _, err := p.m.Output(ctx, "sync", "-f", p.dir); err != nil {
		return err
	}
	if p.quiet == nil {
		return nil
	}
	return p.quiet(ctx)
}

// cool makes the machine forget what it has read of the disk behind the place.
// What is cached above that, fio drops itself.
func (p *place) cool(ctx context.Context) error {
	if err := p.settle(ctx); err != nil {
		return err
	}
	return forget(p.backing)
}

// forget drops what is cached of all files in dir.
func forget(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go; the others count
		}
		f, err := os.Open(name)
		if err != nil {
			return nil // as above
		}
		defer f.Close() // read-only: nothing to lose
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// makePlaces makes all places that were asked for. Without a peer the rest goes
// on, and the report says why.
func (b *bench) makePlaces(ctx context.Context, m *lab.Machine, r *report) ([]*place, error) {
	if _, err := m.Output(ctx, "install", "-d", "-m", "1777", placesDir, sockets); err != nil {
		return nil, err
	}
	// What PostgreSQL shares there goes with the machine, also when it is killed.
	if _, err := m.Output(ctx, "mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"); err != nil {
		return nil, err
	}
	var places []*place
	for _, kind := range []struct {
		names []string
		make  func(context.Context) ([]*place, error)
	}{
		{[]string{plainName}, b.plain},
		{[]string{ballastName}, b.ballast},
		{[]string{peerOne, peerTwo}, b.gluster},
	} {
		if !slices.ContainsFunc(kind.names, func(n string) bool { return slices.Contains(b.places, n) }) {
			continue
		}
		made, err := kind.make(ctx)
		if err != nil && kind.names[0] != peerOne {
			return nil, err
		}
		if err != nil {
			r.note("GlusterFS cannot run here, and is left out: %v", err)
			fmt.Fprintln(b.w, r.Notes[len(r.Notes)-1])
		}
		places = append(places, made...)
	}
	return slices.DeleteFunc(places, func(p *place) bool { return !slices.Contains(b.places, p.name) }), nil
}

// plain is a folder, shown without access times as volumes are.
func (b *bench) plain(ctx context.Context) ([]*place, error) {
	p := &place{name: plainName, dir: path.Join(placesDir, plainName), backing: b.m.Path(plainName), m: b.m}
	if err := os.Mkdir(p.backing, 0o755); err != nil {
		return nil, err
	}
	return []*place{p}, b.show(ctx, p.backing, p.dir)
}

// show makes a folder appear at a path that everybody can reach.
func (b *bench) show(ctx context.Context, folder, at string) error {
	_, err := b.m.Output(ctx, "sh", "-ec", `mkdir "$2"; mount --bind "$1" "$2"; mount -o remount,bind,noatime "$2"`, "sh", folder, at)
	return err
}

// needs says what this machine lacks for a run without peers.
func needs() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("this needs root: type sudo make bench")
	}
	for _, program := range []string{"fio", "redis-server", "redis-benchmark", "mkfs.ext4", "unshare", "ip", postgresProgram("postgres")} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("this machine lacks %s: type make bench, which installs it: %w", program, err)
		}
	}
	return nil
}
