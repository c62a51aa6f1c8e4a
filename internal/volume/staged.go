package volume

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	stagingDir  = "staging"
	pointName   = "point.json"
	indexName   = "index"
	stagedName  = "chunks"       // of an earlier release
	besideName  = "image.staged" // beside the image, whose name it may take
	stagedEntry = 24             // bytes, of the index

	stagedBit   = 1 << 63 // the chunk is staged
	zeroBit     = 1 << 62 // and is all zeros
	mergedBit   = 1 << 61 // and is in the image, but not in its file any more
	stagedFlags = mergedBit

	holeUnit = 16 * blockSize // zeros of this length become a hole
)

// staged are the files of a staging: the chunks, and an index of those that are
// durable. Its methods are not safe for concurrent use.
type staged struct {
	point stagedPoint
	table []uint64 // per chunk: LSN and flags
	into  vfs.File // where the chunks are, each at its place in the volume
	index vfs.File
	end   int64 // of the index, in bytes
	old   bool  // the chunks are where an earlier release has them
	fixed bool  // that they are adopted may be what the disk says
}

func stagedLSN(entry uint64) ballast.LSN {
	return ballast.LSN(entry &^ (stagedBit | zeroBit | mergedBit))
}

// stage takes up what an earlier staging left, if it is of the history that leads to
// the point, or begins anew.
func stage(fsys vfs.FS, dir string, to StagePoint, d *descriptor) (*staged, error) {
	point := stagedPoint{
		Format: FormatVersion, Direct: d.Incomplete && d.Durable == 0 && d.Merging == 0,
		LSN: to.LSN, Epoch: to.Epoch, Size: to.Size, Lineage: to.Lineage,
	}
	s, err := loadStaged(fsys, dir)
	if err == nil && s.leadsTo(point) {
		err = s.goOn(fsys, dir, point)
	} else {
		if err == nil {
			err = s.close()
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*CorruptError)) {
			s, err = beginStaged(fsys, dir, point)
		}
	}
	if err != nil && s != nil {
		err = errors.Join(err, s.close())
	}
	return s, err
}

// leadsTo reports whether what is staged is of the history of a point: a chunk that did
// not change since is good for it then.
func (s *staged) leadsTo(to stagedPoint) bool {
	common, known := s.point.Lineage.Common(s.point.LSN, to.Lineage, to.LSN)
	if s.point.Adopted { // they are the image
		return false
	}
	return seeded(keepStaged) || known && common == s.point.LSN && s.point.Direct == to.Direct
}

// goOn makes the files those of a later point.
func (s *staged) goOn(fsys vfs.FS, dir string, to stagedPoint) error {
	to.Salt = s.point.Salt
	s.point = to
	s.resize()
	for chunk, entry := range s.table {
		if entry&mergedBit != 0 {
			s.table[chunk] = 0
		}
	}
	if !to.Direct {
		if err := s.into.Truncate(to.Size); err != nil {
			return err
		}
	}
	// What of the index is torn goes, and what was put twice.
	if err := s.index.Close(); err != nil {
		return err
	}
	name := path.Join(dir, stagingDir, indexName)
	live := s.entries(func(yield func(int)) {
		for chunk, entry := range s.table {
			if entry&stagedBit != 0 {
				yield(chunk)
			}
		}
	})
	if err := vfs.ReplaceFile(fsys, name, live); err != nil {
		return err
	}
	var err error
	if s.index, err = fsys.Open(name); err != nil {
		return err
	}
	s.end = int64(len(live))
	return s.point.store(fsys, dir)
}

func (s *staged) resize() {
	chunks := int(s.point.Size / ballast.ChunkSize)
	s.table = slices.Grow(s.table, max(0, chunks-len(s.table)))[:chunks]
}

// beginStaged makes the files of a staging that has nothing yet. What went into an
// image that is no volume yet is taken from it first: nothing says what it is of.
func beginStaged(fsys vfs.FS, dir string, point stagedPoint) (_ *staged, err error) {
	if err := removeStaging(fsys, dir); err != nil {
		return nil, err
	}
	if point.Salt, err = randomSalt(); err != nil {
		return nil, err
	}
	folder := path.Join(dir, stagingDir)
	if err := errors.Join(fsys.Mkdir(folder), fsys.SyncDir(dir)); err != nil {
		return nil, err
	}
	s := &staged{point: point}
	s.resize()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.index, err = createEmpty(fsys, path.Join(folder, indexName)); err != nil {
		return nil, err
	}
	if point.Direct {
		s.into, err = openWiped(fsys, path.Join(dir, imageName))
	} else if s.into, err = createEmpty(fsys, path.Join(dir, besideName)); err == nil {
		err = errors.Join(s.into.Truncate(point.Size), fsys.SyncDir(dir))
	}
	if err != nil {
		return nil, err
	}
	return s, s.point.store(fsys, dir)
}

func randomSalt() (uint64, error) {
	var random [8]byte
	_, err := rand.Read(random[:])
	return newSalt(random), err
}

// openWiped opens a file and makes all of it zeros, durably.
func openWiped(fsys vfs.FS, name string) (vfs.File, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && !seeded(skipWipe) {
		err = f.Punch(0, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// loadStaged opens what a staging left. The error wraps [fs.ErrNotExist] when there is
// nothing, and is a [*CorruptError] when it is of no use.
func loadStaged(fsys vfs.FS, dir string) (_ *staged, err error) {
	s := new(staged)
	if s.point, err = loadPoint(fsys, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	folder := path.Join(dir, stagingDir)
	if s.index, err = fsys.Open(path.Join(folder, indexName)); err != nil {
		return nil, err
	}
	if err := s.openChunks(fsys, dir); err != nil {
		return nil, err
	}
	s.resize()
	return s, s.loadIndex(fsys, path.Join(folder, indexName))
}

// openChunks opens the file that the chunks are in.
func (s *staged) openChunks(fsys vfs.FS, dir string) (err error) {
	name := path.Join(dir, besideName)
	if s.point.Direct {
		name = path.Join(dir, imageName)
	}
	s.into, err = fsys.Open(name)
	if s.point.Direct || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name = path.Join(dir, stagingDir, stagedName)
	if s.old = !s.point.Adopted; s.point.Adopted {
		name = path.Join(dir, imageName)
	}
	s.into, err = fsys.Open(name)
	return err
}

// write puts a chunk in its place. It counts once settle has returned.
func (s *staged) write(chunk int, lsn ballast.LSN, data []byte, zero bool) (err error) {
	off := int64(chunk) * ballast.ChunkSize
	switch {
	case !zero:
		err = lay(s.into, off, data)
	case s.point.Direct:
		err = s.into.Punch(off, ballast.ChunkSize)
	}
	if err != nil {
		return err
	}
	s.table[chunk] = uint64(lsn) | stagedBit
	if zero {
		s.table[chunk] |= zeroBit
	}
	return nil
}

// lay writes a chunk, long runs of zeros as holes: a copy shall take no more of the
// disk than what it is a copy of.
func lay(f vfs.File, off int64, p []byte) error {
	for len(p) > 0 {
		n, hole := holeUnit, isZeroUnit(p)
		for n < len(p) && isZeroUnit(p[n:]) == hole {
			n += holeUnit
		}
		var err error
		if hole {
			err = f.Punch(off, int64(n))
		} else {
			_, err = f.WriteAt(p[:n], off)
			if n >= writeAhead {
				vfs.StartWriting(f, off, int64(n))
			}
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// settle makes chunks durable, and then the index say so.
func (s *staged) settle(chunks []int) error {
	if !seeded(stagedBeforeSync) {
		if err := s.into.Sync(); err != nil {
			return fmt.Errorf("sync staged chunks: %w", err)
		}
	}
	return s.note(chunks)
}

func (s *staged) close() (err error) {
	for _, f := range []vfs.File{s.index, s.into} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	s.index, s.into = nil, nil
	return err
}

// removeStaging removes all of a staging, the point first: without it the rest
// means nothing.
func removeStaging(fsys vfs.FS, dir string) error {
	folder := path.Join(dir, stagingDir)
	names, err := fsys.List(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && slices.Contains(names, pointName) {
		err = errors.Join(fsys.Remove(path.Join(folder, pointName)), fsys.SyncDir(folder))
	}
	for _, name := range names {
		if err == nil && name != pointName {
			err = fsys.Remove(path.Join(folder, name))
		}
	}
	if err != nil {
		return err
	}
	err = fsys.Remove(path.Join(dir, besideName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the chunks were in the image, or are the image
	}
	return err
}

func isZeroUnit(p []byte) bool { return bytes.Equal(p[:holeUnit], zeroChunk[:holeUnit]) }
