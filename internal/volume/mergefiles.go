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

// merge brings the image to the point, and returns the descriptor that says so. It
// can be interrupted anywhere, and called again.
func (s *staged) merge(fsys vfs.FS, dir string, d *descriptor, stop *atomic.Bool) (_ *descriptor, err error) {
	if err := s.becomeImage(fsys, dir, d.Size, stop); err != nil {
		return nil, err
	}
	if err := s.tell(fsys, dir, d); err != nil {
		return nil, err
	}
	next := *d
	next.Size, next.Applied, next.Durable, next.History = s.point.Size, s.point.LSN, s.point.LSN, s.point.Lineage
	next.Promised = max(d.epoch(), s.point.Epoch)
	if next.Promised == s.point.Lineage.Epoch() {
		next.Promised = 0
	}
	next.Incomplete, next.Merging = false, 0
	// No segment that was there before can be taken for one of the new log.
	if next.Salt, err = randomSalt(); err != nil {
		return nil, err
	}
	return &next, next.store(fsys, dir)
}

// becomeImage brings the image, which holds a volume of some size, to the point.
func (s *staged) becomeImage(fsys vfs.FS, dir string, size int64, stop *atomic.Bool) (err error) {
	image, err := fsys.Open(path.Join(dir, imageName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	adopted, err := s.adopt(fsys, dir, image, size, stop)
	if adopted || err != nil {
		return err
	}
	if err := s.fit(image); err != nil || s.point.Direct {
		return err
	}
	return s.copyTo(image, stop)
}

// fit gives the image the volume's size.
func (s *staged) fit(image vfs.File) error {
	size, err := image.Size()
	switch {
	case err != nil:
		return err
	case size < s.point.Size:
		err = image.Truncate(s.point.Size)
	case size > s.point.Size: // a growth that never was; zeros, should there be another
		err = image.Punch(s.point.Size, size-s.point.Size)
	}
	if err == nil {
		err = image.Sync()
	}
	return err
}

// copyTo copies the staged chunks into the image, a good deal at a time, and lets
// go of each deal's place once it is durable there.
func (s *staged) copyTo(image vfs.File, stop *atomic.Bool) error {
	var deal []int
	buf := make([]byte, ballast.ChunkSize)
	for chunk, entry := range s.table {
		if entry&stagedBit == 0 || entry&mergedBit != 0 {
			continue
		}
		if stop.Load() {
			return errInterrupted
		}
		if err := s.copyChunk(image, chunk, buf); err != nil {
			return err
		}
		if deal = append(deal, chunk); len(deal) >= settleStaged {
			if err := s.merged(image, deal); err != nil {
				return err
			}
			deal = deal[:0]
		}
	}
	return s.merged(image, deal)
}

func (s *staged) copyChunk(image vfs.File, chunk int, buf []byte) error {
	off := int64(chunk) * ballast.ChunkSize
	if s.table[chunk]&zeroBit != 0 {
		return image.Punch(off, ballast.ChunkSize)
	}
	if _, err := s.into.ReadAt(buf, off); err != nil {
		return fmt.Errorf("read staged chunk %d: %w", chunk, err)
	}
	return lay(image, off, buf)
}

// merged notes that chunks are in the image, and gives their places back.
func (s *staged) merged(image vfs.File, deal []int) error {
	if len(deal) == 0 {
		return nil
	}
	if !seeded(mergeUnsynced) {
		if err := image.Sync(); err != nil {
			return fmt.Errorf("sync image: %w", err)
		}
	}
	for _, chunk := range deal {
		s.table[chunk] |= mergedBit
	}
	if err := s.note(deal); err != nil {
		return err
	}
	for _, chunk := range deal {
		if err := s.into.Punch(int64(chunk)*ballast.ChunkSize, ballast.ChunkSize); err != nil {
			return err
		}
	}
	return nil
}

// tell makes the chunk table say what is staged, with the leader's LSNs: what this
// copy leaves out when it leads another one day is left out rightly.
func (s *staged) tell(fsys vfs.FS, dir string, d *descriptor) (err error) {
	c, err := openChunks(fsys, dir, min(d.Size, s.point.Size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.file.Close()) }()
	c.grow(s.point.Size)
	for chunk, entry := range s.table {
		lsn := stagedLSN(entry)
		if entry&stagedBit == 0 || seeded(keepOwnLSN) {
			continue
		}
		c.table[chunk] = presentBit | uint64(lsn)
		c.dirty[chunk/chunksPerPage] = true
	}
	return c.store()
}

// finishMerge goes on with a merge that a crash interrupted, and returns the
// descriptor to open the volume with.
func finishMerge(fsys vfs.FS, dir string, d *descriptor) (_ *descriptor, err error) {
	if d.Merging == 0 || seeded(forgetMerge) {
		return d, nil
	}
	s, err := loadMerging(fsys, dir, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	next, err := s.merge(fsys, dir, d, new(atomic.Bool))
	if err != nil {
		return nil, fmt.Errorf("go on bringing the copy to LSN %d: %w", s.point.LSN, err)
	}
	return next, removeStaging(fsys, dir)
}

// loadMerging opens the staging that a descriptor says is being merged. That it is
// not there is damage: the image is neither at the old point nor at the new one.
func loadMerging(fsys vfs.FS, dir string, d *descriptor) (*staged, error) {
	s, err := loadStaged(fsys, dir)
	if err == nil && s.point.Salt == d.Merging {
		return s, nil
	}
	if err == nil {
		err = errors.Join(&CorruptError{Reason: "it is of another staging"}, s.close())
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.As(err, new(*CorruptError)) {
		return nil, err
	}
	return nil, &CorruptError{File: path.Join(dir, stagingDir, pointName), Reason: fmt.Sprintf("the chunks that were being merged are not there: %v", err)}
}
