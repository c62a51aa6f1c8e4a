package stream

import (
	"context"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

var _ volume.Shipper = (*Hub)(nil)

// Hub carries a volume's log to its other copies. It is made before the volume is
// opened, which needs it, and runs once it is open.
type Hub struct{ cfg Config }

// New returns a Hub.
func New(cfg Config) *Hub { return &Hub{cfg: cfg.withDefaults()} }

// Run serves the peers until ctx ends, or until this writer is fenced off; then the
// error is [ErrFenced]. It is called once. No flush is acknowledged before it runs.
func (h *Hub) Run(ctx context.Context, log Log) error { <-ctx.Done(); return nil }

// SetMembers tells the Hub what the volume's record says of the copies.
func (h *Hub) SetMembers(m replica.Members) {}

// Complete tells the Hub that this copy lacks no chunk any more.
func (h *Hub) Complete() {}

// Status says where every peer stands, sorted by node.
func (h *Hub) Status() []PeerStatus { return nil }

// Ship implements [volume.Shipper].
func (h *Hub) Ship(b volume.Batch) {}

// Flush implements [volume.Shipper].
func (h *Hub) Flush(lsn ballast.LSN) {}

// Committed implements [volume.Shipper].
func (h *Hub) Committed(lsn ballast.LSN) error { return ErrEnded }

// Durable implements [volume.Shipper].
func (h *Hub) Durable(lsn ballast.LSN) {}
