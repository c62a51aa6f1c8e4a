package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/volume"
)

// hasFiles reports whether this node has files of the volume, whatever is in them.
func (n *node) hasFiles(s *slot) bool {
	_, err := volume.ReadIdentity(n.disk, s.dir)
	return err == nil
}

// ensureFiles makes the files of a volume that was never attached. Files that are
// missing of one that was are missing data, and nothing takes their place (A7).
func (n *node) ensureFiles(s *slot, rec cluster.Record) error {
	if err := n.disk.Mkdir(s.dir); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	id, err := volume.ReadIdentity(n.disk, s.dir)
	switch {
	case err == nil && id.ID != rec.ID:
		return fmt.Errorf("the files in %s are those of volume %s; put the right ones there", n.path(s.dir), id.ID)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case rec.Epoch > 0:
		return fmt.Errorf("the volume was in use before and its files are not in %s; nothing was changed; put them back, or remove the volume and create it anew: %w", n.path(s.dir), err)
	}
	if err := volume.Create(n.disk, s.dir, volume.Identity{ID: rec.ID, Size: rec.Spec.Size}); err != nil {
		return err
	}
	return n.disk.SyncDir(volumesDir)
}

// wipe deletes the files of a volume that is not attached, and keeps what is
// remembered of its epochs.
func (n *node) wipe(s *slot) error {
	if err := n.removeFiles(s); err != nil {
		return err
	}
	if err := n.disk.Mkdir(s.dir); err != nil {
		return fmt.Errorf("make volume's folder: %w", err)
	}
	state := s.remembered()
	state.FilesystemSize = 0
	return n.remember(s, state)
}

// removeFiles deletes all that a volume has on this node. Its folder's name is an
// id that was checked when its record was read.
func (n *node) removeFiles(s *slot) error { return n.removeFolder(s.dir) }

func (n *node) removeFolder(dir string) error {
	root, err := os.OpenRoot(n.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("delete volume's files: %w", err)
	}
	err = errors.Join(root.RemoveAll(dir), root.Close())
	if err != nil {
		return fmt.Errorf("delete volume's files: %w", err)
	}
	return n.disk.SyncDir(volumesDir)
}
