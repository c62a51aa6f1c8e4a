package tail

import (
	"context"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// LoadUntil returns the history of a volume as it was when epoch was the highest one: whatever
// continued it since, or left it before its end, is left out. A volume that was restored
// in its place leaves what others began as.
func (r *Reader) LoadUntil(ctx context.Context, volume ballast.VolumeID, epoch ballast.Epoch) (*Line, error) {
	found, _, err := r.find(ctx, volume, 0)
	if err != nil {
		return nil, fmt.Errorf("load the log of %s until %s: %w", volume, epoch, err)
	}
	later := func(f Found) bool {
		return ParseName(f.Name).Epoch > epoch || f.Head != nil && f.Head.Epoch > epoch
	}
	return Build(volume, 0, slices.DeleteFunc(found, later)), nil
}
