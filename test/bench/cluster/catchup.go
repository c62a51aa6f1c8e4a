package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// catchUp has a copy miss a lot, and measures how fast it has that, and what writers on
// the primary keep of their rate meanwhile. The disk's own rate is measured in the same run.
func (b *bench) catchUp(ctx context.Context) error {
	primary, mountpoint, err := b.volume(ctx, strconv.Itoa(2*b.megabytes+1024)+"M")
	if err != nil {
		return err
	}
	disk, err := b.diskRate(ctx, primary)
	if err != nil {
		return err
	}
	other, err := b.awaitCopy(ctx, primary)
	if err != nil {
		return err
	}
	alone, err := b.writeRate(ctx, primary, mountpoint, 5)
	if err != nil {
		return err
	}
	if err := b.c.Isolate(ctx, other); err != nil {
		return err
	}
	fill := fmt.Sprintf("--size=%dM", b.megabytes)
	if _, err := primary.Output(ctx, "fio", "--name=fill", "--filename="+path.Join(mountpoint, "filled"), fill, "--rw=write", "--bs=1m", "--end_fsync=1", "--refill_buffers"); err != nil {
		return err
	}
	degraded, err := b.writeRate(ctx, primary, mountpoint, 5)
	if err != nil {
		return err
	}
	rates, seconds, err := b.whileCatchingUp(ctx, primary, other, mountpoint)
	if err != nil {
		return err
	}
	speed := float64(b.megabytes) / seconds
	b.r.atLeast(fmt.Sprintf("catching up %d MiB", b.megabytes), "MiB/s", speed, min(300, disk))
	b.r.atLeast("the disk of the same run, sequential writes with one fsync", "MiB/s", disk, 0)
	b.r.atLeast("fsync'd 4 KiB writes with the copy in sync", "1/s", alone, 0)
	b.r.atLeast("the same without a copy", "1/s", degraded, 0)
	if len(rates) > 0 {
		b.r.atLeast("kept of that while the copy catches up", "of 1", percentile(rates, 50)/degraded, 0.7, rates...)
	}
	return nil
}

// whileCatchingUp lets the copy catch up, and measures the foreground a second at a time.
func (b *bench) whileCatchingUp(ctx context.Context, primary, other *lab.Node, mountpoint string) (rates []float64, seconds float64, err error) {
	if err := b.c.Heal(ctx); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	caughtUp := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		caughtUp <- lab.Poll(ctx, "the copy to catch up", func(ctx context.Context) error {
			v, err := api(primary).Inspect(ctx, volumeName)
			if err == nil && !slices.Contains(agentapi.InSync(v), other.Name) {
				err = fmt.Errorf("in sync: %v", agentapi.InSync(v))
			}
			return err
		})
	}()
	for {
		select {
		case err := <-caughtUp:
			return rates, time.Since(began).Seconds(), err
		default:
		}
		rate, err := b.writeRate(ctx, primary, mountpoint, 1)
		if err != nil {
			return nil, 0, err
		}
		rates = append(rates, rate)
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
