package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/lab"
)

// move moves a volume under load, and measures for how long nobody could write: from the
// last acknowledgement on the one node to the first on the other, where the volume is
// polled for. The target has a copy or has none, in turn.
func (b *bench) move(ctx context.Context) error {
	primary, mountpoint, err := b.volume(ctx, "2G")
	if err != nil {
		return err
	}
	var pauses, said []float64
	for i := range b.moves {
		other, err := b.awaitCopy(ctx, primary)
		if err != nil {
			return err
		}
		if i%2 == 1 {
			other = b.third(primary, other)
		}
		load, err := startLoad(ctx, primary, mountpoint)
		if err != nil {
			return err
		}
		pause, mounted, err := b.moveUnderLoad(ctx, primary, other)
		if err != nil {
			load.end()
			return fmt.Errorf("move from %s to %s: %w", primary.Name, other.Name, err)
		}
		last, err := load.last()
		if err != nil {
			return err
		}
		first, err := firstWrite(ctx, other, mounted)
		if err != nil {
			return err
		}
		pauses, said = append(pauses, first-last), append(said, pause)
		fmt.Fprintf(b.w, "  %d/%d  %s to %s: %.0f ms without a write; ballast said %.0f ms\n", i+1, b.moves, primary.Name, other.Name, 1000*(first-last), 1000*pause)
		primary, mountpoint = other, mounted
	}
	b.r.atMost(fmt.Sprintf("move under load, greatest pause of %d", len(pauses)), "s", percentile(pauses, 100), 1, pauses...)
	b.r.atMost("the same, as ballast says", "s", percentile(said, 100), 1, said...)
	return nil
}

// third is the node that is neither.
func (b *bench) third(p, q *lab.Node) *lab.Node {
	for _, n := range b.c.Nodes {
		if n != p && n != q {
			return n
		}
	}
	return q
}

// moveUnderLoad asks again when the load had a file open whenever the volume was to be unmounted:
// then nothing was changed, and the load has gone on.
func (b *bench) moveUnderLoad(ctx context.Context, from, to *lab.Node) (pause float64, mountpoint string, err error) {
	const attempts = 10
	for range attempts {
		pause, mountpoint, err = b.moveOnce(ctx, from, to)
		if connect.CodeOf(err) != connect.CodeFailedPrecondition {
			break
		}
	}
	return pause, mountpoint, err
}

// moveOnce moves the volume and returns the pause, in seconds, and where it is mounted then.
func (b *bench) moveOnce(ctx context.Context, from, to *lab.Node) (pause float64, mountpoint string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := api(from).Volumes.Move(ctx, connect.NewRequest(&v1.MoveRequest{Name: volumeName, Node: to.Name}))
	if err != nil {
		return 0, "", err
	}
	done := false
	for stream.Receive() {
		done = stream.Msg().GetDone()
		pause = stream.Msg().GetPause().AsDuration().Seconds()
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		return 0, "", err
	}
	if !done {
		return 0, "", errors.New("the move ended and was not done")
	}
	v, err := api(to).Inspect(ctx, volumeName)
	if err == nil && v.GetMountpoint() == "" {
		err = fmt.Errorf("the volume is not mounted there: %s on %s", v.GetState(), v.GetPrimary())
	}
	return pause, v.GetMountpoint(), err
}

// load is a program that opens, writes, syncs and closes, so that the volume can go
// between two writes.
type load struct {
	said   *strings.Builder
	ended  chan error
	cancel context.CancelFunc
}

func startLoad(ctx context.Context, n *lab.Node, mountpoint string) (*load, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{said: &strings.Builder{}, ended: make(chan error, 1), cancel: cancel}
	script := `while dd if=/dev/zero of="$1/load" bs=64k count=4 conv=fsync,notrunc 2>/dev/null; do
		read up idle </proc/uptime; echo "$up"; sleep 0.01; done`
	cmd := n.Command(ctx, "sh", "-c", script, "sh", mountpoint)
	cmd.Stdout = l.said
	if err := n.Start(cmd); err != nil {
		cancel()
		return nil, err
	}
	go func() { l.ended <- cmd.Wait() }()
	return l, nil
}

func (l *load) end() {
	l.cancel()
	<-l.ended // it was killed
}

// last is when the last write was acknowledged, in seconds since the machine started.
func (l *load) last() (float64, error) {
	l.end()
	words := strings.Fields(l.said.String())
	if len(words) == 0 {
		return 0, errors.New("nothing was written before the move")
	}
	return strconv.ParseFloat(words[len(words)-1], 64)
}

// firstWrite is when a write is acknowledged where the volume is now.
func firstWrite(ctx context.Context, n *lab.Node, mountpoint string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := n.Output(ctx, "sh", "-ec", `dd if=/dev/zero of="$1" bs=4k count=1 conv=fsync,notrunc 2>/dev/null; cat /proc/uptime`, "sh", path.Join(mountpoint, "load"))
	if err != nil {
		return 0, err
	}
	up, _, _ := strings.Cut(out, " ")
	return strconv.ParseFloat(up, 64)
}
