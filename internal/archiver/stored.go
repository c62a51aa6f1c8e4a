package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	sourceVersion = 1
	sourceFile    = "source.json" // where the chunks come from that are not here yet
	scratchFile   = "source.scratch"
	maxSourceFile = 64 << 20
)

// storedSource is what a hydrating volume is to be filled from. It outlives the agent.
type storedSource struct {
	Version int           `json:"version"`
	Plan    *archive.Plan `json:"plan"`
}

// SaveSource notes, in the folder of a volume, what it is to be filled from.
func SaveSource(disk vfs.FS, dir string, plan *archive.Plan) error {
	data, err := json.Marshal(storedSource{sourceVersion, plan})
	if err != nil {
		return fmt.Errorf("encode source: %w", err)
	}
	if len(data) > maxSourceFile {
		return fmt.Errorf("encode source: the plan has %d bytes, more than the %d it can have: take a base snapshot first: %w", len(data), maxSourceFile, ballast.ErrInvalid)
	}
	return vfs.ReplaceFile(disk, dir+"/"+sourceFile, data)
}

// loadSource returns where the volume in dir is filled from. It wraps [fs.ErrNotExist] when
// everything is there.
func loadSource(disk vfs.FS, dir string) (*archive.Plan, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+sourceFile, maxSourceFile)
	if err != nil {
		return nil, err
	}
	var stored storedSource
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("decode source: %w", err)
	}
	if stored.Version != sourceVersion || stored.Plan == nil {
		return nil, fmt.Errorf("decode source: it has format %d, this release reads %d", stored.Version, sourceVersion)
	}
	return stored.Plan, nil
}

// openSource opens what a volume of this node is filled from.
func (s *Sources) openSource(ctx context.Context, id ballast.VolumeID) (chunkSource, func(), error) {
	plan, err := loadSource(s.node.Disk, s.node.dir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("volume %s is not filled from an archive: %w", id, ballast.ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	o, err := s.vault.Get()
	if err != nil {
		return nil, nil, err
	}
	scratch, err := os.OpenFile(filepath.Join(s.node.DataDir, s.node.dir(id), scratchFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open source of volume %s: %w", id, err)
	}
	closeScratch := func() {
		_ = scratch.Close()           // a cache
		_ = os.Remove(scratch.Name()) // likewise
	}
	src, err := o.Archive.Source(ctx, plan, scratch)
	if err != nil {
		closeScratch()
		return nil, nil, err
	}
	return src, closeScratch, nil
}

// InUse returns what volumes of this node are still being filled from.
func (s *Sources) InUse() ([]*archive.Plan, error) {
	names, err := s.node.Disk.List(s.node.Volumes)
	if err != nil {
		return nil, fmt.Errorf("look what is being restored: %w", err)
	}
	var plans []*archive.Plan
	for _, name := range names {
		plan, err := loadSource(s.node.Disk, s.node.dir(ballast.VolumeID(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look what volume %s is being filled from: %w", name, err)
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// Forget forgets what a volume was filled from, which has everything now.
func (s *Sources) Forget(id ballast.VolumeID) {
	s.Drop(id)
	dir := s.node.dir(id)
	err := s.node.Disk.Remove(dir + "/" + sourceFile)
	if errors.Is(err, fs.ErrNotExist) {
		return // it was not restored, as a rule
	}
	if err == nil {
		err = s.node.Disk.SyncDir(dir)
	}
	if err != nil {
		s.node.Quiet.Warn("source "+string(id), "where a volume was filled from is still noted, though it has everything", "volume_id", id, "error", err)
		return
	}
	s.node.Health.Clear(id, CondHydration)
	name := string(id)
	if v, err := s.node.Records.ByID(id); err == nil {
		name = v.Name
	}
	s.node.Log.Info("volume has everything that it was restored from", "volume", name, "volume_id", id)
}
