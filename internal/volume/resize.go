package volume

import (
	"fmt"

	"github.com/ballast-io/ballast"
)

// Resize grows the volume to size bytes, a multiple of [ballast.ChunkSize] and
// not less than now, else the error is [ballast.ErrInvalid]. The new part reads
// as zeros. After a power cut the volume has the old size or the new one, and
// once Resize has returned nil, the new one.
func (v *Volume) Resize(size int64) error {
	defer v.interrupt()()
	now, err := v.Size(), v.Err()
	switch {
	case err != nil:
		return err
	case size < now:
		return fmt.Errorf("resize volume %s to %d bytes: %w: it has %d and can only grow", v.id, size, ballast.ErrInvalid, now)
	case size%ballast.ChunkSize != 0:
		return fmt.Errorf("resize volume %s to %d bytes: %w: not a multiple of %d", v.id, size, ballast.ErrInvalid, ballast.ChunkSize)
	case size == now:
		return nil
	}
	if err := v.extend(size); err != nil {
		return v.setback(fmt.Errorf("resize volume %s: %w", v.id, err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.size = size
	return nil
}

// extend makes room for the new size in the files; the descriptor says so last.
func (v *Volume) extend(size int64) error {
	if err := v.image.Truncate(size); err != nil {
		return err
	}
	if err := v.image.Sync(); err != nil {
		return err
	}
	v.chunks.grow(size)
	if err := v.chunks.store(); err != nil {
		return err
	}
	return v.storeDescriptor(func(d *descriptor) { d.Size = size })
}
