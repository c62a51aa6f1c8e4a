package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// bench is one part, on a cluster of its own.
type bench struct {
	options
	c *lab.Cluster
	r *results
}

// onCluster does a part on three nodes, which are gone afterwards.
func onCluster(do func(*bench, context.Context) error) func(context.Context, options, *results) error {
	return func(ctx context.Context, o options, r *results) (err error) {
		parent, err := os.MkdirTemp(o.dir, "ballast-bench-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(parent)) }()
		c, err := lab.NewCluster(ctx, filepath.Join(parent, "c"), 3, lab.ClusterOptions{Machine: lab.Options{
			AgentArgs: []string{"--docker-socket", "", "--plugin-socket", "", "--archive", "none", "--lease", o.lease.String()},
		}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		return do(&bench{options: o, c: c, r: r}, ctx)
	}
}

// api calls a node's agent.
func api(n *lab.Node) *agentapi.Client { return agentapi.Of(n.Machine) }

const (
	volumeName = "bench"
	holder     = "bench"
)

// volume makes a volume with two copies and attaches it on the first node.
func (b *bench) volume(ctx context.Context, size string) (primary *lab.Node, mountpoint string, err error) {
	primary = b.c.Nodes[0]
	if _, err := api(primary).Create(ctx, volumeName, map[string]string{"size": size, "repl": "2"}); err != nil {
		return nil, "", err
	}
	mountpoint, err = api(primary).Attach(ctx, volumeName, holder)
	if err != nil {
		return nil, "", err
	}
	_, err = b.awaitCopy(ctx, primary)
	return primary, mountpoint, err
}

// patience bounds what waits for a copy.
const patience = 10 * time.Minute

// awaitCopy waits until the primary and another node are in sync, and returns that one.
func (b *bench) awaitCopy(ctx context.Context, primary *lab.Node) (other *lab.Node, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = lab.Poll(ctx, "a copy to be in sync", func(ctx context.Context) error {
		v, err := api(primary).Inspect(ctx, volumeName)
		if err != nil {
			return err
		}
		in := agentapi.InSync(v)
		for _, n := range b.c.Nodes {
			if n != primary && len(in) > 1 && slices.Contains(in, n.Name) {
				other = n
			}
		}
		if other == nil || v.GetPrimary() != primary.Name {
			return fmt.Errorf("in sync: %v; primary %s", in, v.GetPrimary())
		}
		return nil
	})
	return other, err
}
