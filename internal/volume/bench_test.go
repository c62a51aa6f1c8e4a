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
