// Command account says where each microsecond of a synced 4 KiB write goes, on a
// plain directory and on a Ballast volume, from the kernel's tracepoints of
// system calls and block devices. docs/operations/performance.md shows a run.
//
//	go run ./test/bench/account [-sync fsync] [-dir DIR]
//
// It needs root, perf (Debian: linux-perf) and fio, runs on a lab machine (see
// package lab) and leaves nothing behind. Only calls that took one write and one
// flush of their device are counted; how many others there were is printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the program at once
	call := flag.String("sync", "fdatasync", "fdatasync or fsync")
	dir := flag.String("dir", "/var/tmp", "look at the disk of the folder `DIR`")
	ballast := flag.String("ballast", "", "look at the binary `FILE` (default bin/ballast)")
	flag.Parse()
	if err := run(ctx, os.Stdout, *dir, *call, *ballast); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, dir, call, ballast string) (err error) {
	parent, err := os.MkdirTemp(dir, "ballast-account-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(parent)) }()
	m, err := lab.New(ctx, filepath.Join(parent, "m"), lab.Options{
		Ballast:   ballast,
		AgentArgs: []string{"--docker-socket", "", "--plugin-socket", ""},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	disk, err := device(ctx, m, m.Dir)
	if err != nil {
		return err
	}
	plain := subject{title: "plain directory", dir: m.Dir, top: disk, disk: disk, steps: plainSteps}
	volume, err := volumeSubject(ctx, m, disk)
	if err != nil {
		return err
	}
	for _, s := range []subject{plain, volume} {
		a, err := s.look(ctx, m, call)
		if err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		a.print(w, s.title, call)
	}
	return nil
}

func volumeSubject(ctx context.Context, m *lab.Machine, disk string) (subject, error) {
	s := subject{title: "Ballast volume", disk: disk, steps: volumeSteps}
	if err := m.Agent.Start(ctx); err != nil {
		return s, err
	}
	if _, err := m.Ballast(ctx, "volume", "create", "v", "--size", "4G"); err != nil {
		return s, err
	}
	var err error
	if s.dir, err = m.Ballast(ctx, "volume", "attach", "v"); err != nil {
		return s, err
	}
	s.top, err = device(ctx, m, s.dir)
	return s, err
}
