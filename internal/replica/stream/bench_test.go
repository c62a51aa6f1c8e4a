package stream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// onDisk puts a cluster's nodes on the real disk, in BALLAST_BENCH_DIR if that is set, and TLS
// over the loopback interface between them.
func onDisk(b *testing.B, names ...ballast.NodeID) *cluster {
	b.Helper()
	c := newCluster(b, names...)
	for _, n := range c.nodes {
		dir, err := os.MkdirTemp(os.Getenv("BALLAST_BENCH_DIR"), "ballast-bench-") //nolint:usetesting // on a disk that is asked for
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		disk, err := vfs.OS(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = disk.Close() })
		if err := disk.Mkdir("v"); err != nil {
			b.Fatal(err)
		}
		n.disk = disk
	}
	return c
}

// tcp has a node's receiver listen, and returns how to dial it.
func (c *cluster) tcp(b *testing.B, n *node, from ballast.NodeID) func(context.Context, replica.Peer) (net.Conn, error) {
	b.Helper()
	cert := selfSigned(b)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, DynamicRecordSizingDisabled: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if err := n.r.Serve(context.Background(), conn, from); err != nil {
					c.log.Info("stream served", "node", n.name, "error", err)
				}
			}()
		}
	}()
	return func(ctx context.Context, _ replica.Peer) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true}}
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

func selfSigned(b *testing.B) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// BenchmarkFlush is a 4 KiB write and its flush, on this node alone and with one copy.
func BenchmarkFlush(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkFlush(b, onDisk(b, "n1"), false) })
	b.Run("copy", func(b *testing.B) { benchmarkFlush(b, onDisk(b, "n1", "n2"), true) })
}

func benchmarkFlush(b *testing.B, c *cluster, copied bool) {
	if copied {
		c.receive(c.nodes["n2"])
		defer c.nodes["n2"].stop()
		c.dialer = c.tcp(b, c.nodes["n2"], "n1")
	}
	l := c.lead(c.nodes["n1"])
	if copied {
		c.inSync("n2")
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		if _, err := l.v.WriteAt(block(byte(i)), int64(i%512)*ballast.BlockSize); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := l.v.Flush(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	l.close(b)
}

// BenchmarkCatchUp is how fast a copy that has nothing of it gets 256 MiB of log, or of chunks.
func BenchmarkCatchUp(b *testing.B) {
	b.Run("log", func(b *testing.B) { benchmarkCatchUp(b, (*cluster).blank) })
	b.Run("chunks", func(b *testing.B) { benchmarkCatchUp(b, func(*cluster, *node) {}) })
}

func benchmarkCatchUp(b *testing.B, begin func(*cluster, *node)) {
	const size = 256 << 20
	for b.Loop() {
		b.StopTimer()
		c := onDisk(b, "n1", "n2")
		c.size = size
		begin(c, c.nodes["n2"])
		reachable := make(chan func(context.Context, replica.Peer) (net.Conn, error), 1)
		dialled := make(chan struct{}) // the pause between two attempts is not what is measured
		c.dialer = func(ctx context.Context, p replica.Peer) (net.Conn, error) {
			select {
			case dial := <-reachable:
				close(dialled)
				return dial(ctx, p)
			default:
				return nil, errors.New("not yet")
			}
		}
		l := c.lead(c.nodes["n1"])
		fill(b, l.v, size)
		c.receive(c.nodes["n2"])
		dial := c.tcp(b, c.nodes["n2"], "n1")
		reachable <- dial
		<-dialled
		b.StartTimer()
		c.inSync("n2")
		b.StopTimer()
		l.close(b)
		c.nodes["n2"].stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*size/(1<<20)/b.Elapsed().Seconds(), "MB/s")
}

func fill(b *testing.B, v *volume.Volume, size int64) {
	p := make([]byte, ballast.ChunkSize)
	if _, err := io.ReadFull(rand.Reader, p); err != nil {
		b.Fatal(err)
	}
	for off := int64(0); off < size; off += ballast.ChunkSize {
		if _, err := v.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.Flush(); err != nil {
		b.Fatal(err)
	}
}
