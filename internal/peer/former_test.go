package peer

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"
)

// A node that is of another cluster now proves to those of its former one that it is the node
// that they knew; nobody else can say that of it, and it says nothing else to them.
func TestFormerIdentity(t *testing.T) {
	before, after := newTestCluster(t), newTestCluster(t)
	n1, _ := before.enter("n1")
	was, _ := before.enter("n2")
	is, _ := after.enter("n2")
	at := time.Date(2026, 11, 21, 10, 42, 0, 0, time.UTC)
	serve := func(cfg Config) string {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Nodes, cfg.Log = after.known, slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- NewServer(cfg).Serve(ctx, l) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return l.Addr().String()
	}
	says := Former{Cluster: is.Self().Cluster, At: at}
	moved := serve(Config{Own: is, FormerOwn: was, Former: says})
	dialer := NewDialer(n1, before.known)
	if said, err := dialer.Former(t.Context(), "n2", moved); err != nil || said != says {
		t.Errorf("it says %+v, %v; want %+v", said, err, says)
	}
	if conn, err := dialer.Dial(t.Context(), "n2", moved, ProtocolReplica); err == nil {
		_ = conn.Close() // should not be there
		t.Error("it speaks of more than that to a node of its former cluster")
	}
	stranger, _ := newTestCluster(t).enter("n2")
	for name, cfg := range map[string]Config{
		"a node that never left":           {Own: was},
		"a stranger that says it of n2":    {Own: is, FormerOwn: stranger, Former: says},
		"a node that says it of another":   {Own: is, FormerOwn: n1, Former: says},
		"a node that names the same again": {Own: is, FormerOwn: was, Former: Former{Cluster: was.Self().Cluster, At: at}},
	} {
		if said, err := dialer.Former(t.Context(), "n2", serve(cfg)); err == nil {
			t.Errorf("%s: %+v is believed", name, said)
		}
	}
}
