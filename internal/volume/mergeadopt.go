package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync/atomic"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// adopt makes the file of staged chunks the image itself, where that moves fewer bytes than to
// copy them: it lacks only the chunks that stay as they are. It reports false when
// the chunks are to be copied into the image instead.
//
// The order is what keeps R6: the file is the whole image, durably, before the point says that
// it is to be adopted; only then does it take the image's name. Once the point says so there is
// no other way, and a file that is not there has that name already.
func (s *staged) adopt(fsys vfs.FS, dir string, image vfs.File, size int64, stop *atomic.Bool) (bool, error) {
	if !s.point.Adopted {
		if ready, err := s.prepareAdoption(image, size, stop); !ready || err != nil {
			return false, err
		}
		s.fixed = true
		next := s.point
		next.Adopted = true
		if err := next.store(fsys, dir); err != nil {
			return false, err
		}
		s.point = next
	}
	err := fsys.Rename(path.Join(dir, besideName), path.Join(dir, imageName))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = fsys.SyncDir(dir)
	}
	return true, err
}

// prepareAdoption makes the file of staged chunks the whole image, if it is to be adopted.
func (s *staged) prepareAdoption(image vfs.File, size int64, stop *atomic.Bool) (bool, error) {
	if !s.fixed {
		if worth, err := s.isWorthAdopting(image, size); !worth || err != nil {
			return false, err
		}
	}
	err := s.fill(image, size, stop)
	if isFull(err) && !s.fixed {
		return false, s.unfill()
	}
	return err == nil, err
}

// isWorthAdopting compares what either way copies.
func (s *staged) isWorthAdopting(image vfs.File, size int64) (bool, error) {
	if s.point.Direct || s.old {
		return false, nil
	}
	here, kept := 0, 0
	for chunk, entry := range s.table {
		switch off := int64(chunk) * ballast.ChunkSize; {
		case entry&mergedBit != 0:
			return false, nil // some are in the image already, and nowhere else
		case entry&zeroBit != 0:
		case entry&stagedBit != 0:
			here++
		case off < size:
			hole, err := image.Hole(off, ballast.ChunkSize)
			if err != nil {
				return false, err
			}
			if !hole {
				kept++
			}
		}
	}
	return here > kept, nil
}

// fill gives the file of staged chunks all that is not staged, durably.
func (s *staged) fill(image vfs.File, size int64, stop *atomic.Bool) error {
	if err := s.into.Truncate(s.point.Size); err != nil {
		return err
	}
	buf := make([]byte, ballast.ChunkSize)
	for chunk, entry := range s.table {
		if stop.Load() {
			return errInterrupted
		}
		var err error
		switch off := int64(chunk) * ballast.ChunkSize; {
		case entry&zeroBit != 0 || entry&stagedBit == 0 && off >= size:
			err = clearChunk(s.into, off)
		case entry&stagedBit == 0:
			err = s.keep(image, off, buf)
		}
		if err != nil {
			return err
		}
	}
	if seeded(mergeUnsynced) {
		return nil
	}
	if err := s.into.Sync(); err != nil {
		return fmt.Errorf("sync staged chunks: %w", err)
	}
	return nil
}

// keep takes a chunk over from the image.
func (s *staged) keep(image vfs.File, off int64, buf []byte) error {
	hole, err := image.Hole(off, ballast.ChunkSize)
	if err != nil {
		return err
	}
	if hole {
		return clearChunk(s.into, off)
	}
	if _, err := image.ReadAt(buf, off); err != nil {
		return fmt.Errorf("read image at %d: %w", off, err)
	}
	return lay(s.into, off, buf)
}

// clearChunk makes a chunk zeros, and asks for nothing when it is a hole.
func clearChunk(f vfs.File, off int64) error {
	if hole, err := f.Hole(off, ballast.ChunkSize); hole || err != nil {
		return err
	}
	return f.Punch(off, ballast.ChunkSize)
}

// unfill takes away what fill brought, where there was no room for all of it.
func (s *staged) unfill() error {
	for chunk, entry := range s.table {
		if entry&stagedBit != 0 {
			continue
		}
		if err := clearChunk(s.into, int64(chunk)*ballast.ChunkSize); err != nil {
			return err
		}
	}
	return nil
}
