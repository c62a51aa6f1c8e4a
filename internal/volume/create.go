package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Identity is what a volume is, whatever happens to its content.
type Identity struct {
	ID   ballast.VolumeID
	Size int64 // bytes; a multiple of [ballast.ChunkSize]
}

// Create makes an empty volume in the folder dir, which exists and is empty. It
// reads as zeros and takes no disk space to speak of. A Create that a power cut
// interrupted can be made again.
func Create(fsys vfs.FS, dir string, id Identity) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("create volume %s: %w", id.ID, err)
	}
	d := &descriptor{Format: FormatVersion, ID: id.ID, Size: id.Size, Segment: defaultSegment, Salt: newSalt(random)}
	return create(fsys, dir, d, func(*chunks) {})
}

func create(fsys vfs.FS, dir string, d *descriptor, fill func(*chunks)) error {
	if err := d.validate(); err != nil {
		return fmt.Errorf("create volume %s: %w: %w", d.ID, ballast.ErrInvalid, err)
	}
	if _, err := loadDescriptor(fsys, dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create volume %s: %w", d.ID, errors.Join(ballast.ErrExists, err))
	}
	if err := createFiles(fsys, dir, d, fill); err != nil {
		return fmt.Errorf("create volume %s: %w", d.ID, err)
	}
	return nil
}

// createFiles writes the descriptor last: a folder with one is a whole volume.
func createFiles(fsys vfs.FS, dir string, d *descriptor, fill func(*chunks)) error {
	if err := fsys.Mkdir(path.Join(dir, logDir)); err != nil {
		return err
	}
	image, err := createEmpty(fsys, path.Join(dir, imageName))
	if err != nil {
		return err
	}
	if err = image.Truncate(d.Size); err == nil {
		err = image.Sync()
	}
	if err = errors.Join(err, image.Close()); err != nil {
		return err
	}
	if err := createChunks(fsys, dir, d.Size, fill); err != nil {
		return err
	}
	// The descriptor's name must not outlive a power cut that theirs do not.
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	return d.store(fsys, dir)
}

// createEmpty makes an empty file in the place of whatever an interrupted
// Create left there.
func createEmpty(fsys vfs.FS, name string) (vfs.File, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fsys.Create(name)
}

// ReadEpoch returns the highest epoch that the volume in dir was opened under, or that was promised
// to a leader elsewhere; 0 if there was none.
func ReadEpoch(fsys vfs.FS, dir string) (ballast.Epoch, error) {
	d, err := loadDescriptor(fsys, dir)
	if err != nil {
		return 0, fmt.Errorf("read volume's epoch: %w", err)
	}
	return d.epoch(), nil
}

// ReadBeginning returns where the latest writer of the volume in dir began: the one under whose epoch
// it was opened or followed last.
func ReadBeginning(fsys vfs.FS, dir string) (Beginning, error) {
	d, err := loadDescriptor(fsys, dir)
	if err != nil {
		return Beginning{}, fmt.Errorf("read volume's lineage: %w", err)
	}
	return d.History.Beginning(), nil
}

// ReadIdentity returns what the volume in dir is.
func ReadIdentity(fsys vfs.FS, dir string) (Identity, error) {
	d, err := loadDescriptor(fsys, dir)
	if err != nil {
		return Identity{}, fmt.Errorf("read volume's identity: %w", err)
	}
	return Identity{ID: d.ID, Size: d.Size}, nil
}
