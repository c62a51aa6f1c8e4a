package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"

	"github.com/ballast-io/ballast/test/lab"
)

// glusterAddress is one that GlusterFS takes for a machine's; it refuses loopback
// addresses. It lives in the machine's own network and reaches nobody.
const glusterAddress = "10.255.0.1"

// gluster makes two volumes, of one brick and of two that hold the same, on one
// GlusterFS whose state, logs and sockets are the machine's own.
func (b *bench) gluster(ctx context.Context) ([]*place, error) {
	for _, program := range []string{"glusterd", "gluster", "mount.glusterfs"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	if err := b.startGluster(ctx); err != nil {
		return nil, err
	}
	one, err := b.glusterVolume(ctx, peerOne, "a")
	if err != nil {
		return nil, err
	}
	two, err := b.glusterVolume(ctx, peerTwo, "b", "c")
	if err != nil {
		return []*place{one}, err
	}
	return []*place{one, two}, nil
}

func (b *bench) startGluster(ctx context.Context) error {
	script := `
		mkdir -p "$1/lib" "$1/log" /var/lib/glusterd /var/log/glusterfs
		mount --bind "$1/lib" /var/lib/glusterd
		mount --bind "$1/log" /var/log/glusterfs
		ip address add "$2/32" dev lo`
	if _, err := b.m.Output(ctx, "sh", "-ec", script, "sh", b.m.Path("gluster"), glusterAddress); err != nil {
		return err
	}
	log, err := os.Create(b.m.Path("glusterd.log"))
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	// It runs until the machine ends.
	cmd := b.m.Command(context.WithoutCancel(ctx), "glusterd", "--no-daemon")
	cmd.Stdout, cmd.Stderr = log, log
	if err := b.m.Start(cmd); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // how it ended is of no interest
	return lab.Poll(ctx, "glusterd to answer", func(ctx context.Context) error {
		_, err := b.tellGluster(ctx, "volume", "list")
		return err
	})
}

func (b *bench) glusterVolume(ctx context.Context, name string, bricks ...string) (*place, error) {
	p := &place{name: name, dir: path.Join(placesDir, name), backing: b.m.Path("bricks-" + name), m: b.m}
	create := []string{"volume", "create", name}
	if len(bricks) > 1 {
		create = append(create, "replica", fmt.Sprint(len(bricks)))
	}
	for _, brick := range bricks {
		folder := path.Join(p.backing, brick)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		create = append(create, glusterAddress+":"+folder)
	}
	// force: the bricks may share a disk with the system, and with each other.
	if _, err := b.tellGluster(ctx, append(create, "force")...); err != nil {
		return nil, err
	}
	if _, err := b.tellGluster(ctx, "volume", "start", name); err != nil {
		return nil, err
	}
	_, err := b.m.Output(ctx, "sh", "-ec", `mkdir "$2"; mount -t glusterfs "$1" "$2"`, "sh", glusterAddress+":/"+name, p.dir)
	return p, err
}

func (b *bench) tellGluster(ctx context.Context, args ...string) (string, error) {
	return b.m.Output(ctx, "gluster", append([]string{"--mode=script"}, args...)...)
}
