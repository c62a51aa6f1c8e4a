package volume

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// BenchmarkFlush is 4 KiB written and flushed, on a real disk, by some writers at once.
func BenchmarkFlush(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			v := benchVolume(b, Options{Epoch: 1})
			benchFlush(b, v, writers)
		})
	}
}

func benchVolume(b *testing.B, opts Options) *Volume {
	b.Helper()
	disk, err := vfs.OS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	if err := disk.Mkdir(testDir); err != nil {
		b.Fatal(err)
	}
	if err := Create(disk, testDir, Identity{"bench", 64 * ballast.ChunkSize}); err != nil {
		b.Fatal(err)
	}
	v, err := Open(disk, testDir, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := v.Close(); err != nil {
			b.Error(err)
		}
	})
	return v
}

func benchFlush(b *testing.B, v *Volume, writers int) {
	b.Helper()
	block := make([]byte, blockSize)
	if _, err := v.WriteAt(block, 0); err != nil { // makes the first segment
		b.Fatal(err)
	}
	b.SetBytes(blockSize)
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			p := make([]byte, blockSize)
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				at := (n*int64(writers) + int64(w)) % (64 * blocksPerChunk)
				if _, err := v.WriteAt(p, at*blockSize); err != nil {
					b.Error(err)
					return
				}
				if err := v.Flush(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// tandem is a [Shipper] whose one copy is in the same process, and on the same disk.
type tandem struct {
	f    *Follower
	told chan ballast.LSN

	mu      sync.Mutex
	changed sync.Cond // durable grew
	durable ballast.LSN
	err     error
}

func newTandem(b *testing.B, dir string) *tandem {
	b.Helper()
	disk, err := vfs.OS(dir)
	if err != nil {
		b.Fatal(err)
	}
	if err := disk.Mkdir(testDir); err != nil {
		b.Fatal(err)
	}
	if err := Create(disk, testDir, Identity{"bench", 64 * ballast.ChunkSize}); err != nil {
		b.Fatal(err)
	}
	p := &tandem{told: make(chan ballast.LSN, 1)}
	p.changed.L = &p.mu
	if p.f, err = OpenFollower(disk, testDir, FollowerOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := p.f.Follow(1, Lineage{{1, 1}}, 0); err != nil {
		b.Fatal(err)
	}
	return p
}

func (p *tandem) Ship(b Batch) {
	if err := p.f.Append(b); err != nil {
		panic(err)
	}
}

func (p *tandem) Flush(lsn ballast.LSN) {
	select {
	case p.told <- lsn:
	default:
	}
}

func (p *tandem) Durable(ballast.LSN) {}

func (p *tandem) Committed(lsn ballast.LSN) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.durable < lsn && p.err == nil {
		p.changed.Wait()
	}
	return p.err
}

func (p *tandem) syncAll() {
	for range p.told {
		durable, err := p.f.Sync()
		p.mu.Lock()
		p.durable, p.err = max(p.durable, durable), err
		p.changed.Broadcast()
		p.mu.Unlock()
	}
}

// BenchmarkFlushOfTwo is BenchmarkFlush with a copy that follows, on the same disk.
func BenchmarkFlushOfTwo(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			p := newTandem(b, b.TempDir())
			var syncing sync.WaitGroup
			syncing.Go(p.syncAll)
			b.Cleanup(func() {
				close(p.told)
				syncing.Wait()
				if err := p.f.Close(); err != nil {
					b.Error(err)
				}
			})
			benchFlush(b, benchVolume(b, Options{Epoch: 1, Shipper: p}), writers)
		})
	}
}

// BenchmarkReadLog reads what was written in small and in large pieces, and appends it to a
// copy or not.
func BenchmarkReadLog(b *testing.B) {
	for _, blocks := range []int{1, 64} {
		for _, appended := range []bool{false, true} {
			b.Run(fmt.Sprintf("blocks=%d,append=%t", blocks, appended), func(b *testing.B) {
				v := benchVolume(b, Options{Epoch: 1})
				p := make([]byte, blocks*blockSize)
				const total = 32 << 20
				for off := int64(0); off < total; off += int64(len(p)) {
					if _, err := v.WriteAt(p, off); err != nil {
						b.Fatal(err)
					}
					if blocks == 1 {
						v.mu.Lock()
						v.log.cutTail()
						v.mu.Unlock()
						if err := v.drain(); err != nil {
							b.Fatal(err)
						}
					}
				}
				if err := v.Flush(); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(total)
				for b.Loop() {
					b.StopTimer()
					to := newTandem(b, b.TempDir())
					b.StartTimer()
					last, _, _ := v.Position()
					for at := ballast.LSN(0); at < last; {
						batches, err := v.ReadLog(at, 1<<20)
						if err != nil {
							b.Fatal(err)
						}
						for _, batch := range batches {
							if appended {
								to.Ship(batch)
							}
							at = batch.Last()
						}
					}
					b.StopTimer()
					if err := to.f.Close(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}
