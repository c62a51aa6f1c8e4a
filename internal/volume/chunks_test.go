package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ballast-io/ballast"
)

// sheet is what a volume of several chunks held after every record, and who
// does random work on it. A [model] is of one chunk only.
type sheet struct {
	rng      *rand.Rand
	v        *Volume
	versions [][]version // of every block, oldest first
	sizes    []version   // the volume's size in blocks, in the place of the tag
	last     ballast.LSN
	acked    ballast.LSN
	tags     uint64
}

func newSheet(rng *rand.Rand, chunks int) *sheet {
	n := chunks * blocksPerChunk
	return &sheet{rng: rng, versions: make([][]version, n), sizes: []version{{0, uint64(n)}}}
}

func versionAt(vs []version, lsn ballast.LSN) (tag uint64) {
	for _, v := range vs {
		if v.lsn > lsn {
			break
		}
		tag = v.tag
	}
	return tag
}

// blocks is the present size.
func (s *sheet) blocks() int { return len(s.versions) }

func (s *sheet) record(tag uint64, first, count int) {
	s.last++
	for b := first; b < first+count; b++ {
		s.versions[b] = append(s.versions[b], version{s.last, tag})
	}
}

// cut forgets what came after lsn.
func (s *sheet) cut(lsn ballast.LSN) {
	for b, vs := range s.versions {
		s.versions[b] = slices.DeleteFunc(vs, func(v version) bool { return v.lsn > lsn })
	}
	s.last = lsn
}

// span is mostly a few blocks, at times whole chunks.
func (s *sheet) span(limit int) (first, count int) {
	if s.rng.IntN(8) == 0 {
		chunks := s.blocks() / blocksPerChunk
		n := 1 + s.rng.IntN(min(2, chunks))
		return s.rng.IntN(chunks-n+1) * blocksPerChunk, n * blocksPerChunk
	}
	count = 1 + s.rng.IntN(limit)
	return s.rng.IntN(s.blocks() - count + 1), count
}

func (s *sheet) write() error {
	count := 1 + s.rng.IntN(6)
	first := s.rng.IntN(s.blocks() - count + 1)
	s.tags++
	p := make([]byte, count*blockSize)
	for i := range count {
		paint(p[i*blockSize:(i+1)*blockSize], s.tags, first+i)
	}
	s.record(s.tags, first, count)
	_, err := s.v.WriteAt(p, int64(first)*blockSize)
	return err
}

func (s *sheet) discard() error {
	first, count := s.span(40)
	s.record(0, first, count)
	return s.v.Discard(int64(first)*blockSize, int64(count)*blockSize)
}

func (s *sheet) flush() error {
	promised := s.last
	err := s.v.Flush()
	if err == nil {
		s.acked = promised
	}
	return err
}

// fold makes a round, and fetches what it needs first.
func (s *sheet) fold(ctx context.Context) error {
	return s.v.whenReady(ctx, func() error {
		s.v.applying.Lock()
		defer s.v.applying.Unlock()
		return s.v.round(fullSpeed)
	})
}

func (s *sheet) grow() error {
	s.versions = append(s.versions, make([][]version, blocksPerChunk)...)
	return s.v.Resize(int64(s.blocks()) * blockSize)
}

// read holds a part of the volume against what it should be.
func (s *sheet) read() error {
	first, count := s.span(40)
	got := make([]byte, count*blockSize)
	if _, err := s.v.ReadAt(got, int64(first)*blockSize); err != nil {
		return err
	}
	want := make([]byte, blockSize)
	for i := range count {
		tag := versionAt(s.versions[first+i], s.last)
		paint(want, tag, first+i)
		if !bytes.Equal(got[i*blockSize:(i+1)*blockSize], want) {
			return fmt.Errorf("block %d after LSN %d is not version %d", first+i, s.last, tag)
		}
	}
	return nil
}

// verify holds all of v against what it should be after its last record.
func (s *sheet) verify(v *Volume) error {
	last := v.Stats().Last
	if last < s.acked || last > s.last {
		return fmt.Errorf("last LSN = %d; want within %d (acknowledged) and %d (written)", last, s.acked, s.last)
	}
	got := make([]byte, v.Size())
	if _, err := v.ReadAt(got, 0); err != nil {
		return err
	}
	return s.compare(got, last)
}

func (s *sheet) compare(got []byte, lsn ballast.LSN) error {
	blocks := len(got) / blockSize
	if blocks > s.blocks() {
		return fmt.Errorf("size is %d blocks; want at most %d", blocks, s.blocks())
	}
	want := make([]byte, blockSize)
	for b := range blocks {
		tag := versionAt(s.versions[b], lsn)
		paint(want, tag, b)
		if p := got[b*blockSize : (b+1)*blockSize]; !bytes.Equal(p, want) {
			return fmt.Errorf("block %d (chunk %d) after LSN %d is not version %d: % x…", b, b/blocksPerChunk, lsn, tag, p[:16])
		}
	}
	return nil
}

// unlessRefused drops an error that a fault explains.
func unlessRefused(err, fault error) error {
	if errors.Is(err, fault) {
		return nil
	}
	return err
}
