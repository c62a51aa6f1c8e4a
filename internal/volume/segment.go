package volume

import (
	"errors"
	"fmt"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	logDir = "log"

	// defaultSegment is smaller than it could be: making the first one is part
	// of an attach, and each is a step of a detached volume's idle cost.
	defaultSegment = 16 << 20 // bytes
	minSegment     = 8 * blockSize
	maxSegment     = 1 << 30
)

// segment is a log file: a header block, then batches. It is written full of
// zeros before its first use, because the first write to a block that a file
// system has only promised costs a commit of its journal at the next sync.
type segment struct {
	file   vfs.File
	name   string
	blocks uint64      // its size
	seq    uint64      // its place in the log; 0: holds nothing that is needed
	first  ballast.LSN // of its first record
}

// at is where block off of the segment stands in the log.
func (s *segment) at(off uint64) position { return position(s.seq*s.blocks + off) }

// offset is where pos stands in the segment's file, in bytes.
func (s *segment) offset(pos position) int64 {
	return int64(uint64(pos)%s.blocks) * blockSize
}

// readBlocks reads whole blocks from pos on. The segment's seq may change
// meanwhile, so pos alone says where.
func (s *segment) readBlocks(p []byte, pos position) error {
	if _, err := s.file.ReadAt(p, s.offset(pos)); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	return nil
}

// newSegment makes segment file n of the volume in dir, all zeros and durable.
func newSegment(fsys vfs.FS, dir string, n int, size int64) (_ *segment, err error) {
	s := &segment{name: segmentName(dir, n), blocks: uint64(size) / blockSize}
	if s.file, err = fsys.Create(s.name); err != nil {
		return nil, fmt.Errorf("make log segment: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make log segment: %w", err), s.file.Close(), fsys.Remove(s.name))
		}
	}()
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return nil, err
		}
	}
	if err := s.file.Sync(); err != nil {
		return nil, err
	}
	if seeded(skipDirSync) {
		return s, nil
	}
	return s, fsys.SyncDir(path.Dir(s.name))
}

func segmentName(dir string, n int) string { return path.Join(dir, logDir, fmt.Sprintf("%05d.log", n)) }

// openSegments opens every segment file of the volume in dir, each with what
// its header says. One that was never used, or not made whole, has seq 0.
func openSegments(fsys vfs.FS, dir string, d *descriptor) (segs []*segment, err error) {
	names, err := fsys.List(path.Join(dir, logDir))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSegments(segs))
		}
	}()
	for _, name := range names {
		s := &segment{name: path.Join(dir, logDir, name), blocks: uint64(d.Segment) / blockSize}
		if s.file, err = fsys.Open(s.name); err != nil {
			return segs, err
		}
		segs = append(segs, s)
		if err := s.readHeader(d.Salt); err != nil {
			return segs, err
		}
	}
	return segs, nil
}

func (s *segment) readHeader(salt uint64) error {
	size, err := s.file.Size()
	if err != nil || size < int64(s.blocks)*blockSize {
		return err // a file that was being made when the power failed
	}
	block := make([]byte, blockSize)
	if _, err := s.file.ReadAt(block, 0); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if h, ok := decodeSegmentHeader(block, salt); ok {
		s.seq, s.first = h.seq, h.first
	}
	return nil
}

// remove deletes the segment's file.
func (s *segment) remove(fsys vfs.FS) error {
	return errors.Join(s.file.Close(), fsys.Remove(s.name))
}

// isWhole reports whether the file was made to its end, so that it can be used.
func (s *segment) isWhole() bool {
	size, err := s.file.Size()
	return err == nil && size == int64(s.blocks)*blockSize
}

func closeSegments(segs []*segment) (err error) {
	for _, s := range segs {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
