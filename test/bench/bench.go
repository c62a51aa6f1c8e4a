package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ballast-io/ballast/test/lab"
)

// bench is one run of the program.
type bench struct {
	options
	w      io.Writer
	m      *lab.Machine
	memory *memory
}

// measure makes a machine, does all the work on it and takes it apart again.
func measure(ctx context.Context, w io.Writer, o options, r *report) error {
	if err := needs(); err != nil {
		return err
	}
	b := &bench{options: o, w: w}
	if err := b.onMachine(ctx, "m", nil, func(m *lab.Machine) error { return b.compare(ctx, m, r) }); err != nil {
		return err
	}
	if o.nodes > 1 || !o.only.MatchString(attachName) || !slices.Contains(o.places, ballastName) {
		return nil
	}
	// Its log must hold a gigabyte without being folded.
	return b.onMachine(ctx, "a", []string{"--log-capacity", "6G", "--trash-keep", "1s"}, func(m *lab.Machine) error {
		return b.attach(ctx, m, r)
	})
}

// onMachine makes a machine for f, on the disk to be measured.
func (b *bench) onMachine(ctx context.Context, name string, agentArgs []string, f func(*lab.Machine) error) (err error) {
	parent, err := os.MkdirTemp(b.dir, "ballast-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(parent)) }()
	args := append([]string{"--docker-socket", "", "--plugin-socket", ""}, agentArgs...)
	opts := lab.Options{Ballast: b.binary, AgentArgs: args}
	dir := filepath.Join(parent, name)
	if b.nodes > 1 {
		return b.onCluster(ctx, dir, opts, f)
	}
	m, err := lab.New(ctx, dir, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	b.m = m
	return f(m)
}

// onCluster makes a cluster, on whose first machine all the work is done. Its nodes share
// the machine and the disk with what they are compared with.
func (b *bench) onCluster(ctx context.Context, dir string, opts lab.Options, f func(*lab.Machine) error) (err error) {
	c, err := lab.NewCluster(ctx, dir, b.nodes, lab.ClusterOptions{Machine: opts})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	b.m = c.Nodes[0].Machine
	return f(b.m)
}

// goal is that of one node, or the one for volumes with a synchronous copy.
func (b *bench) goal(alone, copied float64) float64 {
	if b.nodes > 1 {
		return copied
	}
	return alone
}

// compare does every workload in every place.
func (b *bench) compare(ctx context.Context, m *lab.Machine, r *report) error {
	chosen := slices.DeleteFunc(workloads(b), func(w workload) bool { return !b.only.MatchString(w.name()) })
	if len(chosen) == 0 {
		return nil
	}
	places, err := b.makePlaces(ctx, m, r)
	if err != nil {
		return err
	}
	for _, w := range chosen {
		if err := newContest(b, w, places, r).run(ctx); err != nil {
			return err
		}
		if err := r.save(b.out); err != nil { // what is measured is kept
			return err
		}
	}
	if b.memory != nil {
		r.Memory = b.memory.result(ctx)
		return r.save(b.out)
	}
	return nil
}
