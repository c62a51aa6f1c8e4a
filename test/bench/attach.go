package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

const attachName = "attach"

// attachMetrics have no plain directory to be compared with: the goal is a time.
var attachMetrics = []metric{
	{"attach-new", "attach of a new volume (mkfs included)", "ms", 0},
	{"attach-clean", "attach of a clean volume", "ms", 300},
	{"attach-recover", "attach after kill -9, 1 GiB of log, in memory", "ms", 2000},
	{"attach-recover-cold", "attach after kill -9, 1 GiB of log, on disk", "ms", 2000},
}

// attach measures how long `ballast volume attach` takes, in each round with a
// new volume.
func (b *bench) attach(ctx context.Context, m *lab.Machine, r *report) error {
	fmt.Fprintf(b.w, "\n%s\n", attachName)
	if err := m.Agent.Start(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		a := &attaching{b: b, m: m, volume: fmt.Sprintf("v%d", round)}
		s, err := a.round(ctx)
		if err != nil {
			return fmt.Errorf("attach: %w", err)
		}
		r.add(ballastName, attachMetrics, s)
		fmt.Fprintf(b.w, "  round %d/%d  %s  (%d MiB of log)\n", round+1, b.rounds, s.brief(attachMetrics), a.logged>>20)
	}
	return r.save(b.out)
}

// attaching is one round.
type attaching struct {
	b      *bench
	m      *lab.Machine
	volume string
	logged int64 // bytes of log that were recovered
}

func (a *attaching) round(ctx context.Context) (s sample, err error) {
	if _, err := a.ballast(ctx, "create", "--size", "4G"); err != nil {
		return nil, err
	}
	defer func() {
		_, detached := a.ballast(ctx, "detach")
		_, removed := a.ballast(ctx, "rm")
		err = errors.Join(err, detached, removed)
	}()
	s = sample{}
	if s["attach-new"], _, err = a.attach(ctx); err != nil {
		return nil, err
	}
	if _, err := a.ballast(ctx, "detach"); err != nil {
		return nil, err
	}
	var mountpoint string
	if s["attach-clean"], mountpoint, err = a.attach(ctx); err != nil {
		return nil, err
	}
	if err := a.fillLog(ctx, mountpoint); err != nil {
		return nil, err
	}
	for _, way := range []struct {
		name string
		cold bool
	}{{"attach-recover-cold", true}, {"attach-recover", false}} {
		if err := a.killEngine(ctx, way.cold); err != nil {
			return nil, err
		}
		if s[way.name], _, err = a.attach(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (a *attaching) ballast(ctx context.Context, verb string, args ...string) (string, error) {
	return a.m.Ballast(ctx, append([]string{"volume", verb, a.volume}, args...)...)
}

// attach returns how many milliseconds it took.
func (a *attaching) attach(ctx context.Context) (float64, string, error) {
	began := time.Now()
	mountpoint, err := a.ballast(ctx, "attach")
	return float64(time.Since(began)) / float64(time.Millisecond), mountpoint, err
}

// fillLog writes blocks at random places, none twice, until the log holds a
// gigabyte.
func (a *attaching) fillLog(ctx context.Context, mountpoint string) error {
	size := "1g"
	if a.b.quick {
		size = "16m"
	}
	_, err := a.m.Output(ctx, "fio", "--name=fill", "--filename="+path.Join(mountpoint, "data"), "--size="+size, "--end_fsync=1",
		"--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=64")
	if err != nil {
		return err
	}
	e, err := inspect(ctx, a.m, a.volume)
	a.logged = e.LogBytes
	return err
}

func (a *attaching) killEngine(ctx context.Context, cold bool) error {
	pid, err := findEngine(a.m)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	err = lab.Poll(ctx, "the engine to be gone", func(context.Context) error {
		if another, err := findEngine(a.m); err == nil {
			return fmt.Errorf("process %d is there", another)
		}
		return nil
	})
	if err != nil || !cold {
		return err
	}
	dir := a.m.Path("ballast", "volumes")
	if _, err := a.m.Output(ctx, "sync", "-f", dir); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*", "log"))
	for _, log := range logs {
		err = errors.Join(err, forget(log))
	}
	return err
}
