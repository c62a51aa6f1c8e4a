package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// idle makes more and more volumes that nobody uses, each with two copies, and measures
// what they cost: memory, traffic and processor time while nothing happens, and the attach
// of one of them.
func (b *bench) idle(ctx context.Context) error {
	made := 0
	for _, n := range b.volumes {
		began, before := time.Now(), made
		for ; made < n; made++ {
			on := b.c.Nodes[made%len(b.c.Nodes)]
			if _, err := api(on).Create(ctx, idleName(made), map[string]string{"size": "64M", "repl": "2"}); err != nil {
				return fmt.Errorf("create volume %d: %w", made, err)
			}
			if made < b.used {
				if err := b.useOnce(ctx, on, idleName(made)); err != nil {
					return fmt.Errorf("use volume %d: %w", made, err)
				}
			}
		}
		each := float64(time.Since(began).Milliseconds()) / float64(max(1, n-before))
		g, err := b.measureIdle(ctx)
		if err != nil {
			return err
		}
		if g.AttachMS, err = b.attachTime(ctx, made); err != nil {
			return err
		}
		g.Volumes, g.CreateMS = n, each
		b.r.Growth = append(b.r.Growth, g)
		fmt.Fprintf(b.w, "  %4d volumes: agents %.0f MiB, %.1f %% CPU, %.0f KiB/min sent, %.0f of it and %.0f requests/min by etcd, attach %.0f ms\n", n, g.AgentMiB, g.AgentsCPU, g.Traffic/1024, g.PeerBytes/1024, g.Requests, g.AttachMS)
	}
	last := b.r.Growth[len(b.r.Growth)-1]
	b.r.note("idle: the first %d volumes were attached once, so that each has a filesystem and two copies; the others are records only. None is attached while nothing happens.", min(b.used, made))
	b.r.atMost(fmt.Sprintf("attach of a volume with %d others", last.Volumes), "ms", last.AttachMS, 500)
	b.r.atMost(fmt.Sprintf("memory of the greatest agent, %d idle volumes", last.Volumes), "MiB", greatest(last.AgentMiB), 0)
	b.r.atMost(fmt.Sprintf("sent by all nodes, %d idle volumes", last.Volumes), "KiB/min", last.Traffic/1024, 0)
	b.r.atMost(fmt.Sprintf("of that by etcd's members, %d idle volumes", last.Volumes), "KiB/min", last.PeerBytes/1024, 0)
	b.r.atMost(fmt.Sprintf("requests to etcd, %d idle volumes", last.Volumes), "1/min", last.Requests, 0)
	return nil
}

func idleName(i int) string { return "v" + strconv.Itoa(i) }

// quietFor is how long it is watched that nothing happens.
func (b *bench) quietFor() time.Duration {
	if b.quick {
		return 5 * time.Second
	}
	return time.Minute
}

func (b *bench) measureIdle(ctx context.Context) (g growth, err error) {
	if err := pause(ctx, b.quietFor()/3); err != nil { // what was made settles
		return g, err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return g, err
	}
	if err := pause(ctx, b.quietFor()); err != nil {
		return g, err
	}
	after, err := b.usage(ctx)
	if err != nil {
		return g, err
	}
	minutes := after.at.Sub(before.at).Minutes()
	g.Traffic = (after.sent - before.sent) / minutes
	g.PeerBytes = (after.etcdSent - before.etcdSent) / minutes
	g.Requests = (after.requests - before.requests) / minutes
	g.AgentsCPU = 100 * (after.cpu - before.cpu) / (60 * minutes)
	for _, n := range b.c.Nodes {
		kib, err := field(fmt.Sprintf("/proc/%d/status", n.Agent.PID()), "VmRSS:")
		if err != nil {
			return g, err
		}
		g.AgentMiB = append(g.AgentMiB, kib/1024)
	}
	return g, nil
}

// usage is what all nodes have used since they began.
type usage struct {
	at       time.Time
	sent     float64 // bytes, to each other
	etcdSent float64 // bytes, by etcd's members to each other
	requests float64 // reads that each member of etcd answered, and writes that all of them made
	cpu      float64 // seconds, of the agents
}

func (b *bench) usage(ctx context.Context) (u usage, err error) {
	u.at = time.Now()
	writes := 0.0
	for _, n := range b.c.Nodes {
		sent, err := sentBy(ctx, n)
		if err != nil {
			return u, err
		}
		m, err := metrics(ctx, n)
		if err != nil {
			return u, err
		}
		seconds, err := cpuOf(n.Agent.PID())
		if err != nil {
			return u, err
		}
		u.sent += sent
		u.etcdSent += m.sum("etcd_network_peer_sent_bytes_total")
		u.requests += m.sum("etcd_debugging_mvcc_range_total")
		writes = max(writes, m.sum("etcd_server_proposals_applied_total")) // each member applies all of them
		u.cpu += seconds
	}
	u.requests += writes
	return u, nil
}

// sentBy is how many bytes a node has sent to others.
func sentBy(ctx context.Context, n *lab.Node) (sent float64, err error) {
	text, err := n.Output(ctx, "cat", "/proc/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 9 && words[0] == "eth0:" {
			return strconv.ParseFloat(words[9], 64)
		}
	}
	return 0, fmt.Errorf("node %s has no eth0", n.Name)
}

// cpuOf is the processor time of a process, in seconds.
func cpuOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	if !ok || len(words) < 13 {
		return 0, fmt.Errorf("read /proc/%d/stat: %q", pid, text)
	}
	user, err := strconv.ParseFloat(words[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(words[12], 64)
	const ticks = 100 // a second, on every architecture that Go knows
	return (user + system) / ticks, err
}

// field is the number behind a word of a file.
func field(file, word string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), word)
	if words := strings.Fields(rest); ok && len(words) > 0 {
		return strconv.ParseFloat(words[0], 64)
	}
	return 0, fmt.Errorf("%s has no %s", file, word)
}

// attachTime is the median of how long a clean volume with a copy takes to be attached.
func (b *bench) attachTime(ctx context.Context, volumes int) (float64, error) {
	n := b.c.Nodes[0]
	name := idleName(volumes - volumes%len(b.c.Nodes) - len(b.c.Nodes)) // made on that node
	if volumes < 2*len(b.c.Nodes) {
		name = idleName(0)
	}
	var samples []float64
	for range 6 {
		began := time.Now()
		if _, err := api(n).Attach(ctx, name, holder); err != nil {
			return 0, err
		}
		samples = append(samples, float64(time.Since(began).Milliseconds()))
		if err := b.awaitTwo(ctx, n, name); err != nil { // a copy that has just gone would be away for the next one
			return 0, err
		}
		if err := api(n).Detach(ctx, name, holder); err != nil {
			return 0, err
		}
	}
	return percentile(samples[1:], 50), nil // the first one made the filesystem
}

// useOnce gives a volume its filesystem and its second copy.
func (b *bench) useOnce(ctx context.Context, n *lab.Node, name string) error {
	if _, err := api(n).Attach(ctx, name, holder); err != nil {
		return err
	}
	if err := b.awaitTwo(ctx, n, name); err != nil {
		return err
	}
	return api(n).Detach(ctx, name, holder)
}

func (b *bench) awaitTwo(ctx context.Context, n *lab.Node, name string) error {
	return lab.Poll(ctx, "a copy of "+name, func(ctx context.Context) error {
		v, err := api(n).Inspect(ctx, name)
		if in := agentapi.InSync(v); err == nil && len(in) < 2 {
			err = fmt.Errorf("in sync: %v", in)
		}
		return err
	})
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}
