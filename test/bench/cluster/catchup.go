package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// catchUp has a copy miss a lot, and measures how fast it has that, and what writers on
// the primary keep of their rate meanwhile. The disk's own rate is measured in the same rounds:
// it has to take what the copy gets, and what both nodes fold into their images besides.
func (b *bench) catchUp(ctx context.Context) error {
	primary, mountpoint, err := b.volume(ctx, strconv.Itoa(2*b.megabytes+1024)+"M")
	if err != nil {
		return err
	}
	var all caughtUp
	for i := range b.rounds {
		one, err := b.catchUpOnce(ctx, primary, mountpoint)
		if err != nil {
			return err
		}
		all.add(one)
		fmt.Fprintf(b.w, "  %d/%d  %d MiB: connected after %.1f s, then caught up in %.1f s alone and %.1f s under load, in sync after %.1f s; the disk took %.0f MiB/s; kept %s\n", i+1, b.rounds, b.megabytes,
			one.connected[0], float64(b.megabytes)/one.speed[0], float64(b.megabytes)/one.loaded[0], one.inSync[0], one.disk[0], share(percentile(one.kept, 50)))
	}
	disk := percentile(all.disk, 50)
	b.r.atLeast(fmt.Sprintf("catching up %d MiB", b.megabytes), "MiB/s", percentile(all.speed, 50), min(300, disk), all.speed...)
	b.r.atLeast("the disk of the same run, sequential writes with one fsync", "MiB/s", disk, 0, all.disk...)
	b.r.atLeast("catching up while others write", "MiB/s", percentile(all.loaded, 50), 0, all.loaded...)
	b.r.atLeast("fsync'd 4 KiB writes with the copy in sync", "1/s", percentile(all.alone, 50), 0, all.alone...)
	b.r.atLeast("the same without a copy", "1/s", percentile(all.degraded, 50), 0, all.degraded...)
	b.r.atLeast("kept of that while the copy catches up", "of 1", percentile(all.kept, 50), 0.7, all.kept...)
	b.r.atMost("until the copy was connected again", "s", percentile(all.connected, 50), 0, all.connected...)
	b.r.atMost("until it counted again", "s", percentile(all.inSync, 50), 0, all.inSync...)
	return nil
}

func share(of1 float64) string { return strconv.Itoa(int(100*of1)) + " %" }

// caughtUp is what one round measured, or all of them.
type caughtUp struct {
	disk, speed, loaded []float64 // MiB/s
	connected, inSync   []float64 // seconds, from when it could be reached
	alone, degraded     []float64 // writes per second
	kept                []float64 // of degraded, each second
}

func (c *caughtUp) add(o caughtUp) {
	for _, p := range []struct{ to, from *[]float64 }{
		{&c.disk, &o.disk}, {&c.speed, &o.speed}, {&c.loaded, &o.loaded}, {&c.connected, &o.connected}, {&c.inSync, &o.inSync},
		{&c.alone, &o.alone}, {&c.degraded, &o.degraded}, {&c.kept, &o.kept},
	} {
		*p.to = append(*p.to, *p.from...)
	}
}

// catchUpOnce has the copy catch up twice: with nobody else at work, and while others write.
func (b *bench) catchUpOnce(ctx context.Context, primary *lab.Node, mountpoint string) (c caughtUp, err error) {
	disk, err := b.diskRate(ctx, primary)
	if err != nil {
		return c, err
	}
	other, err := b.awaitCopy(ctx, primary)
	if err != nil {
		return c, err
	}
	alone, err := b.writeRate(ctx, primary, mountpoint, b.writeFor())
	if err != nil {
		return c, err
	}
	if err := b.fallBehind(ctx, primary, other, mountpoint); err != nil {
		return c, err
	}
	first, err := b.awaitCaughtUp(ctx, primary, other)
	if err != nil {
		return c, err
	}
	if err := b.fallBehind(ctx, primary, other, mountpoint); err != nil {
		return c, err
	}
	degraded, err := b.writeRate(ctx, primary, mountpoint, b.writeFor())
	if err != nil {
		return c, err
	}
	second, rates, err := b.whileCatchingUp(ctx, primary, other, mountpoint)
	for _, rate := range rates {
		c.kept = append(c.kept, rate/degraded)
	}
	c.disk, c.alone, c.degraded = []float64{disk}, []float64{alone}, []float64{degraded}
	c.connected = []float64{first.connected, second.connected}
	c.inSync = []float64{first.inSync, second.inSync}
	c.speed, c.loaded = []float64{float64(b.megabytes) / first.caughtUp}, []float64{float64(b.megabytes) / second.caughtUp}
	return c, err
}

func (b *bench) writeFor() int {
	if b.quick {
		return 1
	}
	return 5
}

// fallBehind cuts a copy off, and writes what it will have to catch up.
func (b *bench) fallBehind(ctx context.Context, primary, other *lab.Node, mountpoint string) error {
	if err := b.c.Isolate(ctx, other); err != nil {
		return err
	}
	fill := fmt.Sprintf("--size=%dM", b.megabytes)
	_, err := primary.Output(ctx, "fio", "--name=fill", "--filename="+path.Join(mountpoint, "filled"), fill, "--rw=write", "--bs=1m", "--end_fsync=1", "--refill_buffers")
	return err
}

// arrival is how long a copy took to be connected again, from then on to have what it missed, and
// in all to be in sync, in seconds. One that was lost again and again stays out for a while.
type arrival struct{ connected, caughtUp, inSync float64 }

// nearly is the lag in bytes of a copy that has what it missed: others may be writing.
const nearly = 1 << 20

// awaitCaughtUp lets a copy be reached again, and waits for it to be in sync.
func (b *bench) awaitCaughtUp(ctx context.Context, primary, other *lab.Node) (a arrival, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.c.Heal(ctx); err != nil {
		return a, err
	}
	began := time.Now()
	err = lab.Poll(ctx, "the copy to catch up", func(ctx context.Context) error {
		v, err := api(primary).Inspect(ctx, volumeName)
		if err != nil {
			return err
		}
		in := slices.Contains(agentapi.InSync(v), other.Name)
		for _, c := range v.GetCopies() {
			if c.GetNode() == other.Name {
				a.see(time.Since(began).Seconds(), c.GetState() == "catching-up" || in, in || c.GetLagBytes() < nearly)
			}
		}
		if !in {
			return fmt.Errorf("%s is not in sync", other.Name)
		}
		a.inSync = time.Since(began).Seconds()
		return nil
	})
	return a, err
}

// see notes what is seen for the first time.
func (a *arrival) see(now float64, connected, near bool) {
	if connected && a.connected == 0 {
		a.connected = now
	}
	if a.connected > 0 && near && a.caughtUp == 0 {
		a.caughtUp = max(now-a.connected, 0.001)
	}
}

// whileCatchingUp lets the copy catch up, and measures the foreground a second at a time.
func (b *bench) whileCatchingUp(ctx context.Context, primary, other *lab.Node, mountpoint string) (a arrival, rates []float64, err error) {
	arrived := make(chan error, 1)
	go func() {
		var err error
		a, err = b.awaitCaughtUp(ctx, primary, other)
		arrived <- err
	}()
	for {
		rate, err := b.writeRate(ctx, primary, mountpoint, 1)
		if err != nil {
			return arrival{}, nil, errors.Join(err, <-arrived)
		}
		rates = append(rates, rate)
		select {
		case err := <-arrived:
			return a, rates, err
		default:
		}
	}
}

// writeRate is how many 4 KiB blocks per second fio writes with fsync each.
func (b *bench) writeRate(ctx context.Context, n *lab.Node, mountpoint string, seconds int) (float64, error) {
	out, err := n.Output(ctx, "fio", "--name=rate", "--filename="+path.Join(mountpoint, "rate"), "--size=64m", "--rw=randwrite", "--bs=4k", "--fsync=1",
		"--runtime="+strconv.Itoa(seconds), "--time_based", "--norandommap", "--output-format=json")
	if err != nil {
		return 0, err
	}
	var said struct {
		Jobs []struct {
			Write struct {
				IOPS float64 `json:"iops"`
			} `json:"write"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Jobs) != 1 {
		return 0, fmt.Errorf("read what fio said (%w): %.200s", err, out)
	}
	return said.Jobs[0].Write.IOPS, nil
}

// diskRate is what the disk below all nodes takes, in MiB per second.
func (b *bench) diskRate(ctx context.Context, n *lab.Node) (float64, error) {
	file := n.Path("disk-rate")
	began := time.Now()
	_, err := n.Output(ctx, "dd", "if=/dev/zero", "of="+file, "bs=1M", "count="+strconv.Itoa(b.megabytes), "conv=fsync")
	if err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	_, err = n.Output(ctx, "rm", file)
	return float64(b.megabytes) / took, err
}
