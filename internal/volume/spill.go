package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// spill is the blocks that a snapshot still needs and the image has lost. Its
// file is made with the first of them. It is guarded by [Snapshot.mu].
type spill struct {
	fsys vfs.FS
	name string
	room *room

	file   vfs.File
	taken  int64                   // of room, in bytes
	end    int64                   // of the file, in bytes
	places map[ballast.Block]int64 // where a block is in the file
	zeros  extents                 // blocks that were zeros, and are not in the file
}

func newSpill(fsys vfs.FS, name string, room *room) spill {
	return spill{fsys: fsys, name: name, room: room, places: map[ballast.Block]int64{}}
}

func (s *spill) has(b ballast.Block) bool {
	_, ok := s.places[b]
	return ok || s.zeros.has(b)
}

// add keeps the blocks in p, the first of which is first.
func (s *spill) add(p []byte, first ballast.Block) error {
	for len(p) > 0 {
		zero := isZeroBlock(p)
		n := blockSize
		for n < len(p) && isZeroBlock(p[n:]) == zero {
			n += blockSize
		}
		if zero {
			s.zeros = s.zeros.add(extent{first, first + ballast.Block(n/blockSize)})
		} else if err := s.write(p[:n], first); err != nil {
			return err
		}
		p, first = p[n:], first+ballast.Block(n/blockSize)
	}
	return nil
}

func isZeroBlock(p []byte) bool { return bytes.Equal(p[:blockSize], zeroChunk[:blockSize]) }

// write appends blocks to the file. Nothing is synced: a crash ends the
// snapshot anyway.
func (s *spill) write(p []byte, first ballast.Block) (err error) {
	if err := s.room.take(int64(len(p))); err != nil {
		return err
	}
	s.taken += int64(len(p))
	if s.file == nil {
		if s.file, err = createEmpty(s.fsys, s.name); err != nil {
			return err
		}
	}
	if _, err := s.file.WriteAt(p, s.end); err != nil {
		return err
	}
	for i := range int64(len(p) / blockSize) {
		s.places[first+ballast.Block(i)] = s.end + i*blockSize
	}
	s.end += int64(len(p))
	return nil
}

// restore puts the blocks that were kept in their places in p, which begins
// with the block first, and forgets them.
func (s *spill) restore(p []byte, first ballast.Block) error {
	for ; len(p) > 0; p, first = p[blockSize:], first+1 {
		if s.zeros.has(first) {
			clear(p[:blockSize])
			continue
		}
		at, ok := s.places[first]
		if !ok {
			if len(s.places) > 0 && seeded(rebuildZeroFills) {
				clear(p[:blockSize])
			}
			continue
		}
		if _, err := s.file.ReadAt(p[:blockSize], at); err != nil {
			return fmt.Errorf("read what was saved: %w", err)
		}
		delete(s.places, first)
	}
	return nil
}

// remove gives the disk space back.
func (s *spill) remove() error {
	defer func() { s.room.give(s.taken); s.taken = 0 }()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if gone := s.fsys.Remove(s.name); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
