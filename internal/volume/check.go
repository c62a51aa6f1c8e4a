package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Report is what [Check] found.
type Report struct {
	Identity
	Epoch    ballast.Epoch
	Applied  ballast.LSN // folded into the image
	Last     ballast.LSN // the last good record
	Segments int         // of the log, that are needed
	Batches  int         // read and verified, as were their records
	Records  int
	Chunks   int // table entries verified
	Missing  int // chunks that are still to be fetched

	Incomplete bool // a copy whose image is no volume yet, or not any more: its chunks come from its leader
	Merging    bool // a copy on its way to another point: whoever opens it next goes on
	Staged     int  // chunks that stand beside the image, or are in that of a first copy
	Damage     []*CorruptError
}

// Check verifies everything that the formats of the volume in dir promise, and
// changes nothing. The volume must not be open. Damage is in the report; an
// error says that the disk could not be read.
func Check(fsys vfs.FS, dir string) (Report, error) {
	var rep Report
	d, err := loadDescriptor(fsys, dir)
	if err != nil {
		return rep, rep.note(fmt.Errorf("check volume in %s: %w", dir, err))
	}
	rep.Identity, rep.Epoch, rep.Applied = Identity{d.ID, d.Size}, d.epoch(), d.Applied
	rep.Incomplete, rep.Merging = d.Incomplete, d.Merging != 0
	for _, verify := range []func(vfs.FS, string, *descriptor) error{rep.checkLog, rep.checkImage, rep.checkChunks, rep.checkStaging} {
		if err := rep.note(verify(fsys, dir, d)); err != nil {
			return rep, fmt.Errorf("check volume in %s: %w", dir, err)
		}
	}
	return rep, nil
}

// note puts damage into the report and returns any other error. Of a volume that
// has a descriptor, a file that is not there is damage.
func (rep *Report) note(err error) error {
	if missing := (*fs.PathError)(nil); rep.ID != "" && errors.Is(err, fs.ErrNotExist) && errors.As(err, &missing) {
		err = &CorruptError{File: missing.Path, Reason: "it is missing"}
	}
	if damage := (*CorruptError)(nil); errors.As(err, &damage) {
		rep.Damage = append(rep.Damage, damage)
		return nil
	}
	return err
}

func (rep *Report) checkLog(fsys vfs.FS, dir string, d *descriptor) error {
	segs, err := openSegments(fsys, dir, d)
	if err != nil {
		return err
	}
	r := &recovery{desc: d, visit: func(*batchHeader, record) { rep.Records++ }}
	err = r.read(segs)
	rep.Last, rep.Segments, rep.Batches = r.next-1, len(r.segs), r.batches
	return errors.Join(err, closeSegments(segs))
}

func (rep *Report) checkImage(fsys vfs.FS, dir string, d *descriptor) error {
	name := path.Join(dir, imageName)
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil && size < d.Size {
		err = &CorruptError{File: name, Offset: size, Reason: fmt.Sprintf("the file ends here, the volume at %d", d.Size)}
	}
	return errors.Join(err, f.Close())
}

// checkStaging counts what is staged. Only a merge cannot do without it; else what is
// damaged is sent again.
func (rep *Report) checkStaging(fsys vfs.FS, dir string, d *descriptor) error {
	load := loadStaged
	if d.Merging != 0 {
		load = func(fsys vfs.FS, dir string) (*staged, error) { return loadMerging(fsys, dir, d) }
	}
	s, err := load(fsys, dir)
	switch {
	case err == nil:
	case d.Merging == 0 && (errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*CorruptError))):
		return nil
	default:
		return err
	}
	for _, entry := range s.table {
		if entry&stagedBit != 0 {
			rep.Staged++
		}
	}
	return s.close()
}

// checkChunks also holds the table against the log: no chunk can have changed
// after the last record.
func (rep *Report) checkChunks(fsys vfs.FS, dir string, d *descriptor) error {
	c, err := openChunks(fsys, dir, d.Size)
	if err != nil {
		return err
	}
	rep.Chunks = len(c.table)
	for i, entry := range c.table {
		if entry&presentBit == 0 {
			rep.Missing++
		}
		// A volume that was made from an archive may have changed chunks at LSN 0.
		if lsn := ballast.LSN(entry &^ presentBit); lsn > max(rep.Last, 1) && !d.Incomplete {
			err = &CorruptError{
				File:   path.Join(dir, chunksName),
				Offset: placeOf(i/chunksPerPage, c.turn[i/chunksPerPage]) + pageHeader + int64(i%chunksPerPage)*8,
				Reason: fmt.Sprintf("chunk %d changed at LSN %d, the log ends at %d", i, lsn, rep.Last),
			}
			break
		}
	}
	return errors.Join(err, c.file.Close())
}
