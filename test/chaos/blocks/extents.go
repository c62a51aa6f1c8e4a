package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// extentsOf is how many extents the file of them has, of 40 bytes to 128 KiB.
const (
	extentsOf     = 96
	leastExtent   = 40
	longestExtent = 128 << 10
)

// extents are pieces of one file that begin and end anywhere: each is one register, and
// shares its first and last block with its neighbours.
type extents struct {
	f     *os.File
	at    []extent
	taken [extentsOf]sync.Mutex // by who writes it
}

type extent struct{ off, len int }

func openExtents(dir string) (*extents, error) {
	path := filepath.Join(dir, "bytes")
	e := &extents{at: layOut()}
	last := e.at[len(e.at)-1]
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeFile(dir, path, (last.off+last.len+Size-1)/Size); err != nil {
			return nil, err
		}
	}
	var err error
	e.f, err = os.OpenFile(path, os.O_RDWR, 0)
	return e, err
}

// layOut is the same for every user: sizes of all magnitudes, one after the other.
func layOut() []extent {
	rng := rand.New(rand.NewPCG(4, 2))
	var all []extent
	off := 0
	for range extentsOf {
		size := int(leastExtent * math.Pow(float64(longestExtent)/leastExtent, rng.Float64()))
		all = append(all, extent{off, size})
		off += size
	}
	return all
}

func (e *extents) name() string { return "bytes" }
func (e *extents) Close() error { return e.f.Close() }

// An extent: checksum u32, number u32, value u64, random … little-endian.
const extentHeader = 16

func fillExtent(p []byte, v history.Value, number int) {
	binary.LittleEndian.PutUint32(p[4:], uint32(number))
	binary.LittleEndian.PutUint64(p[8:], uint64(v))
	rng := rand.NewPCG(uint64(v), uint64(number))
	for i := extentHeader; i < len(p); i++ {
		if i%8 == 0 {
			var word [8]byte
			binary.LittleEndian.PutUint64(word[:], rng.Uint64())
			i += copy(p[i:], word[:]) - 1
			continue
		}
		p[i] = byte(i)
	}
	binary.LittleEndian.PutUint32(p, crc32.Checksum(p[4:], castagnoli))
}

// readExtent returns whose extent it is. One that a write in doubt was in is of nobody.
func readExtent(p []byte, number int) history.Value {
	switch {
	case isZero(p):
		return 0
	case binary.LittleEndian.Uint32(p) != crc32.Checksum(p[4:], castagnoli), binary.LittleEndian.Uint32(p[4:]) != uint32(number):
		return history.Torn
	default:
		return history.Value(binary.LittleEndian.Uint64(p[8:]))
	}
}

func (e *extents) find(found func(int, history.Value)) error {
	for i, x := range e.at {
		p := make([]byte, x.len)
		if _, err := e.f.ReadAt(p, int64(x.off)); err != nil {
			return fmt.Errorf("read extent %d: %w", i, err)
		}
		if v := readExtent(p, i); v != 0 {
			found(i, v)
		}
	}
	return nil
}

func (e *extents) write(rng *rand.Rand, v history.Value, begin func(int, int) error) error {
	i := rng.IntN(extentsOf)
	p := make([]byte, e.at[i].len)
	fillExtent(p, v, i)
	e.taken[i].Lock() // else two writes may each win a part of it
	defer e.taken[i].Unlock()
	if err := begin(i, 1); err != nil {
		return err
	}
	if _, err := e.f.WriteAt(p, int64(e.at[i].off)); err != nil {
		return err
	}
	return e.f.Sync()
}

func (e *extents) read(*rand.Rand) (int, history.Value, error) { return 0, 0, errNoReads }
