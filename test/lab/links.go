package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cut lets nothing through between two nodes.
func (c *Cluster) Cut(ctx context.Context, a, b *Node) error {
	return c.change(ctx, "cut", func(f *Fault) { f.Cut = true }, link{a.Name, b.Name}, link{b.Name, a.Name})
}

// CutOneWay lets nothing through from a to b; what b sends arrives.
func (c *Cluster) CutOneWay(ctx context.Context, a, b *Node) error {
	return c.change(ctx, "cut", func(f *Fault) { f.Cut = true }, link{a.Name, b.Name})
}

// Isolate lets nothing through between a node and all others.
func (c *Cluster) Isolate(ctx context.Context, n *Node) error {
	var links []link
	for _, other := range c.Nodes {
		if other != n {
			links = append(links, link{n.Name, other.Name}, link{other.Name, n.Name})
		}
	}
	return c.change(ctx, "isolate", func(f *Fault) { f.Cut = true }, links...)
}

// Slow makes what is sent between two nodes take longer, in both directions: every packet
// by delay, and all of them together at no more than rate bytes per second (0: any).
func (c *Cluster) Slow(ctx context.Context, a, b *Node, delay time.Duration, rate int64) error {
	return c.change(ctx, "slow down", func(f *Fault) { f.Delay, f.Rate = delay, rate }, link{a.Name, b.Name}, link{b.Name, a.Name})
}

// Lossy loses a share of the packets between two nodes, from 0 to 1, in both directions.
func (c *Cluster) Lossy(ctx context.Context, a, b *Node, share float64) error {
	if share < 0 || share > 1 {
		return fmt.Errorf("make the link between %s and %s lossy: %g is no share", a.Name, b.Name, share)
	}
	return c.change(ctx, "make lossy", func(f *Fault) { f.Loss = share }, link{a.Name, b.Name}, link{b.Name, a.Name})
}

// Heal ends everything that is wrong with the network.
func (c *Cluster) Heal(ctx context.Context) error {
	if err := c.net.set(ctx, func(faults map[link]Fault) { clear(faults) }); err != nil {
		return fmt.Errorf("heal the network: %w", err)
	}
	return nil
}

// HealLink ends what is wrong between two nodes.
func (c *Cluster) HealLink(ctx context.Context, a, b *Node) error {
	return c.change(ctx, "heal", func(f *Fault) { *f = Fault{} }, link{a.Name, b.Name}, link{b.Name, a.Name})
}

func (c *Cluster) change(ctx context.Context, what string, do func(*Fault), links ...link) error {
	for _, l := range links {
		if l.from == l.to {
			return errors.New(what + ": a node has no link to itself")
		}
	}
	err := c.net.set(ctx, func(faults map[link]Fault) {
		for _, l := range links {
			f := faults[l]
			do(&f)
			faults[l] = f
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
