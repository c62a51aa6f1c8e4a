package main

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// failover kills the primary's machine while it writes, and has the node with the copy
// attach at once: what is measured ends with the first write that is acknowledged there.
func (b *bench) failover(ctx context.Context) error {
	primary, mountpoint, err := b.volume(ctx, "1G")
	if err != nil {
		return err
	}
	var took, beyond, writes []float64
	for i := range b.failovers {
		other, err := b.awaitCopy(ctx, primary)
		if err != nil {
			return err
		}
		stop, err := b.keepWriting(ctx, primary, mountpoint)
		if err != nil {
			return err
		}
		one, mounted, err := b.killAndTake(ctx, primary, other)
		stop()
		if err != nil {
			return fmt.Errorf("failover %d from %s to %s: %w", i+1, primary.Name, other.Name, err)
		}
		took = append(took, one.all)
		beyond, writes = append(beyond, one.all-b.lease.Seconds()), append(writes, one.write)
		if err := primary.PowerOn(ctx); err != nil {
			return err
		}
		primary, mountpoint = other, mounted
		if (i+1)%10 == 0 || i < 3 {
			fmt.Fprintf(b.w, "  %3d/%d  p50 %.2f s, greatest %.2f s\n", i+1, b.failovers, percentile(took, 50), percentile(took, 100))
		}
	}
	goal := (b.lease + time.Second).Seconds()
	b.r.atMost("failover, p50", "s", percentile(took, 50), goal)
	b.r.atMost(fmt.Sprintf("failover, p99 of %d", len(took)), "s", percentile(took, 99), goal, took...)
	b.r.atMost("of that beyond the lease, which is waited for, p99", "s", percentile(beyond, 99), 1, beyond...)
	b.r.atMost("of that the first write, once it is mounted, p99", "s", percentile(writes, 99), 0, writes...)
	return nil
}

// taken is how long a failover took, in seconds, and of that the first write.
type taken struct{ all, write float64 }

func (b *bench) killAndTake(ctx context.Context, primary, other *lab.Node) (t taken, mountpoint string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	if err := primary.PowerOff(ctx); err != nil {
		return t, "", err
	}
	err = lab.Poll(ctx, "the volume to be attached", func(ctx context.Context) (err error) {
		mountpoint, err = api(other).Attach(ctx, volumeName, holder)
		return err
	})
	mounted := time.Now()
	if err == nil {
		_, err = other.Output(ctx, "dd", "if=/dev/zero", "of="+path.Join(mountpoint, "first"), "bs=4k", "count=1", "conv=fsync")
	}
	return taken{time.Since(began).Seconds(), time.Since(mounted).Seconds()}, mountpoint, err
}

// keepWriting writes 64 KiB with fsync, over and over, until stop or the end of the machine.
func (b *bench) keepWriting(ctx context.Context, n *lab.Node, mountpoint string) (stop func(), err error) {
	loop := n.Command(ctx, "sh", "-c", `while dd if=/dev/zero of="$1/load" bs=64k count=1 conv=fsync 2>/dev/null; do :; done`, "sh", mountpoint)
	if err := n.Start(loop); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- loop.Wait() }() // its machine is not gone before
	// It has to be at work: a primary that has nothing to lose loses nothing.
	err = lab.Poll(ctx, "the load to begin", func(ctx context.Context) error {
		_, err := n.Output(ctx, "test", "-s", path.Join(mountpoint, "load"))
		return err
	})
	return func() {
		_ = loop.Process.Kill() // it may be gone with its machine
		<-ended                 // it was killed
	}, err
}
