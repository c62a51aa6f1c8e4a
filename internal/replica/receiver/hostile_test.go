package receiver_test

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	hostileVolume = ballast.VolumeID("aaaaaaaaaaaaaaaaaaaaaaaaaa")
	hostileSize   = int64(16 << 20)
	hostileMemory = 256 << 20 // bytes that a story of a few messages may have allocated
)

// script is what a leader says, made of the bytes that a fuzzer has.
type script struct{ b []byte }

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return v
}

// number is small as a rule, and sometimes what nobody expects.
func (s *script) number() uint64 {
	switch v := s.byte(); {
	case v < 0xf0:
		return uint64(v % 16)
	case v < 0xf8:
		return 1 << (v % 64)
	default:
		return ^uint64(0) - uint64(v-0xf8)
	}
}

func (s *script) lsn() ballast.LSN     { return ballast.LSN(s.number()) }
func (s *script) epoch() ballast.Epoch { return ballast.Epoch(s.number()) }

// size is of a volume whose chunks are counted in no time, or of none.
func (s *script) size() int64 {
	v := int64(s.number()) //nolint:gosec // any
	if v > 0 && v < 1<<10 {
		v *= ballast.ChunkSize
	}
	return min(max(v, 0), wire.MaxSize)
}

func (s *script) lineage() (l volume.Lineage) {
	for range s.byte() % 4 {
		l = append(l, volume.Reign{Epoch: s.epoch(), From: s.lsn()})
	}
	return l
}

func (s *script) batch() volume.Batch {
	b := volume.Batch{Epoch: s.epoch(), First: s.lsn()}
	for range s.byte() % 4 {
		r := volume.Record{Block: ballast.Block(s.number()), Count: uint32(s.number()), Discard: s.byte()%4 == 0} //nolint:gosec // any
		if !r.Discard {
			n := min(int(r.Count), 16) * ballast.BlockSize
			data := make([]byte, n)
			for i := 0; i < n; i += ballast.BlockSize {
				data[i] = s.byte()
			}
			r.CRC = crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
			b.Data = append(b.Data, data...)
		}
		b.Records = append(b.Records, r)
	}
	return b
}

// message returns what is said next.
func (s *script) message() wire.Message {
	switch s.byte() % 16 {
	case 0, 1, 2:
		return &wire.Append{Batch: s.batch()}
	case 3:
		return &wire.Flush{LSN: s.lsn()}
	case 4:
		return &wire.Commit{LSN: s.lsn()}
	case 5, 6:
		return &wire.Follow{Epoch: s.epoch(), Cut: s.lsn(), Lineage: s.lineage()}
	case 7:
		return &wire.Resize{Size: s.size()}
	case 8:
		return &wire.Compare{Since: s.lsn()}
	case 9:
		return &wire.StageBegin{LSN: s.lsn(), Epoch: s.epoch(), Size: s.size(), Since: s.lsn(), Chunks: uint32(s.number()), Lineage: s.lineage()} //nolint:gosec // any
	case 10, 11:
		c := &wire.Chunk{Chunk: uint32(s.number()), LSN: s.lsn()} //nolint:gosec // any
		if s.byte()%2 == 0 {
			c.Data = make([]byte, ballast.ChunkSize)
			c.Data[0] = s.byte()
		}
		return c
	case 12:
		return &wire.StageEnd{}
	case 13:
		return &wire.Ping{NextMillis: uint32(s.number())} //nolint:gosec // any
	case 14:
		return &wire.Ack{Received: s.lsn(), Durable: s.lsn()}
	}
	return &wire.Hello{Min: 1, Max: 1, Node: "n1", Volume: hostileVolume, Epoch: s.epoch(), Size: hostileSize}
}

// hostile is a receiver whose one copy is on a disk in memory.
func hostile(t *testing.T, disk *crashfs.FS) *receiver.Receiver {
	open := func(_ context.Context, id ballast.VolumeID, size int64) (receiver.Copy, error) {
		if _, err := volume.ReadIdentity(disk, "v"); err != nil {
			if size == 0 || size > 1<<30 {
				return nil, ballast.ErrNotFound
			}
			if err := volume.CreateFollower(disk, "v", volume.Identity{ID: id, Size: size}); err != nil {
				return nil, err
			}
		}
		f, err := volume.OpenFollower(disk, "v", volume.FollowerOptions{LogCapacity: 64 << 20, Queue: 64 << 20})
		if err != nil {
			return nil, err
		}
		return receiver.Of(f), nil
	}
	allow := func(context.Context, ballast.VolumeID, ballast.NodeID, ballast.Epoch) error { return nil }
	r := receiver.New(receiver.Config{Node: "n2", Open: open, Allow: allow, Patience: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the receiver ended with %v", err)
		}
	})
	return r
}

// say serves one stream that says data, to its end.
func say(t *testing.T, r *receiver.Receiver, data []byte) {
	t.Helper()
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, there) }() // ends when here is closed
	go func() {
		_, _ = there.Write(data) // refused in the middle, as a rule
		_ = there.Close()
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = r.Serve(context.Background(), here, "n1") // whatever it says of that
	}()
	select {
	case <-served:
	case <-time.After(time.Minute):
		t.Fatal("the stream does not end")
	}
}

// FuzzServe has a node of the cluster stream anything, in any order, well framed or not: what the copy
// has stays whole, an epoch that was stored stays (R4), and nothing that was not said to be committed
// is in its image (R5).
func FuzzServe(f *testing.F) {
	f.Add(uint8(3), []byte{5, 3, 0, 1, 3, 1, 0, 3, 1, 1, 1, 1, 1, 7, 3, 1, 4, 1}, []byte{})
	f.Add(uint8(2), []byte{9, 5, 2, 4, 0, 4, 1, 2, 1, 10, 1, 3, 0, 9, 12}, []byte{1, 2, 3})
	f.Add(uint8(2), []byte{5, 2, 0, 1, 2, 1, 7, 15, 8, 0, 4, 15}, wire.Encode(nil, &wire.Bye{Text: "no"}))
	f.Add(uint8(0xff), []byte{}, []byte{0xff, 0xff, 0xff, 0xff, 5})
	f.Fuzz(func(t *testing.T, epoch uint8, says, raw []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		disk := crashfs.New()
		if err := errors.Join(disk.Mkdir("v"), disk.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		r := hostile(t, disk)
		hello := &wire.Hello{Min: 1, Max: 1, Node: "n1", Volume: hostileVolume, Epoch: ballast.Epoch(epoch), Size: hostileSize}
		data := wire.Encode(nil, hello)
		committed := ballast.LSN(0)
		s := &script{says}
		for i := 0; len(s.b) > 0 && i < 64; i++ {
			m := s.message()
			switch m := m.(type) {
			case *wire.Commit:
				committed = max(committed, m.LSN)
			case *wire.StageBegin: // its point is committed
				committed = max(committed, m.LSN)
			}
			data = wire.Encode(data, m)
		}
		say(t, r, append(data, raw...))
		for _, c := range r.Copies() {
			if c.Durable > c.Last || c.Applied > committed && len(raw) == 0 {
				t.Errorf("the copy says %+v; committed was %d", c, committed)
			}
		}
		// The next leader is heard, whatever was said, and a lower one is not.
		say(t, r, wire.Encode(nil, &wire.Hello{Min: 1, Max: 1, Node: "n1", Volume: hostileVolume, Epoch: 1 << 40, Size: hostileSize}))
		for _, c := range r.Copies() {
			if c.Epoch < 1<<40 {
				t.Errorf("the copy is at %v; want the epoch that was greeted last", c.Epoch)
			}
		}
		runtime.ReadMemStats(&after)
		t.Logf("%d bytes were said, and %d MiB allocated", len(data), (after.TotalAlloc-before.TotalAlloc)>>20)
		if used := after.TotalAlloc - before.TotalAlloc; used > hostileMemory+64*uint64(len(data)) {
			t.Errorf("%d bytes were said, and %d MiB allocated", len(data), used>>20)
		}
	})
}
