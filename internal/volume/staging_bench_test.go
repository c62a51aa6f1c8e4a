package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const benchSize = 256 << 20

// BenchmarkRebuild measures how fast a copy is brought to a snapshot on the real disk: a
// first one, whose chunks go into the image at once, and one that has something to lose,
// whose chunks are staged beside the image and merged.
func BenchmarkRebuild(b *testing.B) {
	disk, err := vfs.OS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close() // nothing of it is kept
	v := benchLeader(b, disk)
	for _, tt := range []struct {
		name string
		has  bool
	}{{"first", false}, {"again", true}} {
		b.Run(tt.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				f := benchCopy(b, disk, fmt.Sprint("copy", tt.name, n))
				p := pull{leader: v, f: f}
				if tt.has {
					if err := p.chunks(b.Context()); err != nil {
						b.Fatal(err)
					}
					overwrite(b, v)
				}
				b.StartTimer()
				if err := p.chunks(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := errors.Join(f.v.image.Truncate(0), f.Close()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	if err := v.Close(); err != nil {
		b.Error(err)
	}
}

func benchLeader(b *testing.B, disk vfs.FS) *Volume {
	b.Helper()
	err := errors.Join(disk.Mkdir("leader"), Create(disk, "leader", Identity{ID: "bench", Size: benchSize}))
	if err != nil {
		b.Fatal(err)
	}
	v, err := Open(disk, "leader", Options{Epoch: 1})
	if err != nil {
		b.Fatal(err)
	}
	overwrite(b, v)
	return v
}

// overwrite changes every chunk, and has it all in the image.
func overwrite(b *testing.B, v *Volume) {
	b.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	p := make([]byte, ballast.ChunkSize)
	for off := int64(0); off < benchSize; off += int64(len(p)) {
		if _, err := rng.Read(p); err != nil {
			b.Fatal(err)
		}
		if _, err := v.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	snap, err := v.Snapshot(b.Context(), 0)
	if err == nil {
		err = snap.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchCopy(b *testing.B, disk vfs.FS, dir string) *Follower {
	b.Helper()
	err := errors.Join(disk.Mkdir(dir), CreateFollower(disk, dir, Identity{ID: "bench", Size: benchSize}))
	if err != nil {
		b.Fatal(err)
	}
	f, err := OpenFollower(disk, dir, FollowerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return f
}
