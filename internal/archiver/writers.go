package archiver

import (
	"context"
	"time"
)

// Writers is what the shippings of a node share. It is the way to begin and to continue the
// histories of its volumes.
type Writers struct {
	node     Node
	vault    *Vault
	interval time.Duration
	queue    int64
	basing   chan struct{} // has room for the one who takes a base snapshot
}

// NewWriters returns the writers of a node. The interval is between two objects of a volume's
// tail; queue is how many bytes of a volume's log are kept for an archive that is away.
func NewWriters(node Node, vault *Vault, interval time.Duration, queue int64) *Writers {
	return &Writers{node: node, vault: vault, interval: interval, queue: queue, basing: make(chan struct{}, 1)}
}

// Start begins to archive a volume that was attached, in a goroutine of the node. It returns
// nil when the node is ending. The engine must not be closed before the result has ended.
func (a *Writers) Start(v Volume, e Engine) *Shipping {
	w := &Shipping{all: a, volume: v, dir: a.node.dir(v.ID), engine: e, asked: make(chan chan error), jobs: make(chan *baseJob), done: make(chan struct{})}
	state, err := LoadState(a.node.Disk, w.dir)
	if err == nil { // said when the volume was taken over
		w.state = state
	}
	begun := make(chan struct{})
	if !a.node.Do(func(ctx context.Context) {
		ctx, w.stop = context.WithCancel(ctx)
		close(begun)
		w.run(ctx)
	}) {
		return nil
	}
	<-begun
	return w
}
