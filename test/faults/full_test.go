package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/lab"
)

// TestFullDisk fills the disk below a volume while it is written to: the agent says
// so, nothing acknowledged is lost, and once there is space the writing goes
// on (G6).
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := newNode(t, smallDisk(t))
	v := n.create("db", "1G")
	a := &attack{node: n, id: v.GetId(), rng: rand.New(rand.NewPCG(1, 7)), acked: map[string]uint64{}}
	a.mountpoint = n.attach("db")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	steps, more := 0, make(chan struct{}, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- a.work(ctx, "bulk", func() {
			if steps++; steps == 2 {
				a.fillDisk()
			}
			select {
			case more <- struct{}{}:
			default:
			}
		})
	}()
	n.eventually("the condition disk-full", func(context.Context) error {
		if !slices.ContainsFunc(n.inspect("db").GetConditions(), isDiskFull) {
			return errors.New("the volume has no such condition")
		}
		return nil
	})
	if err := os.Remove(a.filler()); err != nil {
		t.Fatal(err)
	}
	n.eventually("the end of the condition", func(context.Context) error {
		if c := n.inspect("db").GetConditions(); len(c) > 0 {
			return fmt.Errorf("the volume has %v", c)
		}
		return nil
	})
	// Its filesystem may have been told of an error, and have stopped for that.
	how := "the writer waited and went on"
	for len(more) > 0 {
		<-more
	}
	select {
	case <-more:
	case err := <-ended:
		how = fmt.Sprintf("the writer was told %v", err)
		ended <- err
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("a writer that never ends did")
	}
	a.recover()
	before := a.acked["bulk"]
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	_ = a.work(ctx, "bulk", stop) // it is killed once it has made a step
	if a.acked["bulk"] == before {
		t.Error("no write succeeds now that there is space")
	}
	n.detach("db")
	t.Logf("%d steps, disk full, space freed: %s; %d comparisons, 0 lost", before, how, a.compared)
}

func isDiskFull(c *v1.Condition) bool { return c.GetCode() == "disk-full" }

// smallDisk gives the agent of a machine a disk of its own.
func smallDisk(t *testing.T) func(*lab.Machine) {
	return func(m *lab.Machine) {
		image := m.Path("small-disk")
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(700<<20), f.Close(), os.Mkdir(m.Path("ballast"), 0o700)); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]string{
			{"mkfs.ext4", "-q", "-m", "0", image},
			{"mount", "-o", "loop", image, m.Path("ballast")},
		} {
			if _, err := m.Output(t.Context(), c[0], c[1:]...); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (a *attack) filler() string { return a.outside(a.m.Path("ballast", "filler")) }

// fillDisk takes all the space there is.
func (a *attack) fillDisk() {
	f, err := os.Create(a.filler())
	if err != nil {
		a.t.Error(err)
		return
	}
	defer f.Close() // holds nothing that is read
	for size := int64(64 << 20); size >= 4096; {
		info, err := f.Stat()
		if err == nil {
			err = unix.Fallocate(int(f.Fd()), 0, info.Size(), size)
		}
		if err != nil {
			size /= 2
		}
	}
}
