package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// makingFile is in the folder of a volume whose record may not be there yet. A folder
// with it, and without a record, is what a crash left.
const makingFile = "making"

// withFiles makes the files of a volume that is filled from the archive, and then its
// record with adopt. Where it is not certain that there is no record the files stay: what
// is left over is swept later.
func (n *node) withFiles(made cluster.Record, h volume.Hollow, plan *archive.Plan, adopt func() (cluster.Record, error)) (cluster.Record, error) {
	dir := volumeDir(made.ID)
	n.setMaking(made.ID, true)
	defer n.setMaking(made.ID, false)
	if err := n.makeHollow(dir, h, plan); err != nil {
		return made, errors.Join(err, n.removeFolder(dir))
	}
	adopted, err := adopt()
	switch {
	case err == nil:
		n.forgetMaking(dir)
		return adopted, nil
	case isRefused(err):
		return made, errors.Join(err, n.removeFolder(dir))
	}
	return made, err
}

// isRefused reports whether a change of the records did not happen for sure.
func isRefused(err error) bool {
	for _, sure := range []error{ballast.ErrExists, ballast.ErrInvalid, ballast.ErrInUse, ballast.ErrNotFound, ballast.ErrNotReady} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}

func (n *node) setMaking(id ballast.VolumeID, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if is {
		n.making[id] = true
	} else {
		delete(n.making, id)
	}
}

func (n *node) isMaking(id ballast.VolumeID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.making[id]
}

func (n *node) makeHollow(dir string, h volume.Hollow, plan *archive.Plan) error {
	if err := n.disk.Mkdir(dir); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	if err := n.disk.SyncDir(volumesDir); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	if err := vfs.ReplaceFile(n.disk, dir+"/"+makingFile, nil); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	if err := archiver.SaveSource(n.disk, dir, plan); err != nil {
		return err
	}
	return volume.CreateHollow(n.disk, dir, h)
}

// forgetMaking says that the volume has its record.
func (n *node) forgetMaking(dir string) {
	err := n.disk.Remove(dir + "/" + makingFile)
	if err == nil {
		err = n.disk.SyncDir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("a volume's folder is still marked as being made; the next look ends that", "dir", dir, "error", err)
	}
}

// sweepMaking takes away the folders of volumes that were being made when an agent ended.
func (n *node) sweepMaking(context.Context) {
	names, err := n.disk.List(volumesDir)
	if err != nil {
		n.quiet.Warn("sweep", "folders that were being made are not looked for", "error", err)
		return
	}
	for _, name := range names {
		id := ballast.VolumeID(name)
		f, err := n.disk.Open(volumeDir(id) + "/" + makingFile)
		if err != nil {
			continue // it is not being made, as a rule
		}
		_ = f.Close() // was only looked at
		if n.isMaking(id) {
			continue
		}
		switch _, err := n.records.ByID(id); {
		case err == nil:
			n.forgetMaking(volumeDir(id))
		case errors.Is(err, ballast.ErrNotFound): // not "not known yet" (C4 of package cluster)
			n.log.Info("removing a volume that was not finished when the last agent ended", "volume_id", name)
			if err := n.removeFolder(volumeDir(id)); err != nil {
				n.quiet.Warn("sweep "+name, "it was not removed", "volume_id", name, "error", err)
			}
		}
	}
}
