package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// others is what the log has of a volume, by the names alone.
type others struct {
	opens []tail.Name
	first ballast.LSN // of all records; 0: there are none
}

// pins returns the points of a volume that other volumes began as, and still need. What
// cannot be read about any of them is an error: it could need anything.
func (a *Archive) pins(ctx context.Context, volume ballast.VolumeID) ([]retention.Pin, error) {
	bases, _, err := a.allBases(ctx)
	if err != nil {
		return nil, err
	}
	logs, err := a.logs(ctx, volume)
	if err != nil {
		return nil, err
	}
	var pins []retention.Pin
	for id, log := range logs {
		if log.first > 1 && len(bases[id]) > 0 {
			continue // it cannot be restored to its beginning any more
		}
		for _, name := range log.opens {
			open, err := a.mustOpen(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("find what other volumes began as: %w", err)
			}
			if o := open.Origin; o != nil && o.Volume == volume {
				pins = append(pins, retention.Pin{LSN: o.Point.LSN, Epoch: o.Point.Epoch, Who: "volume " + open.Name})
			}
		}
	}
	slices.SortFunc(pins, func(p, q retention.Pin) int { return int(int64(p.LSN) - int64(q.LSN)) })
	return slices.Compact(pins), nil
}

// logs lists the logs of all volumes but one.
func (a *Archive) logs(ctx context.Context, but ballast.VolumeID) (map[ballast.VolumeID]*others, error) {
	logs := map[ballast.VolumeID]*others{}
	for object, err := range a.store.List(ctx, tail.Root) {
		if err != nil {
			return nil, err
		}
		name := tail.ParseName(object.Name)
		if name.Volume == but || name.Kind != tail.OpenKind && name.Kind != tail.SegmentKind {
			continue
		}
		log := logs[name.Volume]
		if log == nil {
			log = &others{}
			logs[name.Volume] = log
		}
		switch {
		case name.Kind == tail.OpenKind:
			log.opens = append(log.opens, name)
		case log.first == 0 || name.First < log.first:
			log.first = name.First
		}
	}
	return logs, nil
}

// mustOpen reads an open, remembering it: it never changes.
func (a *Archive) mustOpen(ctx context.Context, name tail.Name) (*tail.Open, error) {
	a.mu.Lock()
	open := a.opens[name]
	a.mu.Unlock()
	if open != nil {
		return open, nil
	}
	sealed, err := a.getOpen(ctx, name)
	if err != nil {
		return nil, err
	}
	open, _, err = tail.DecodeOpen(sealed, a.sealer)
	if err != nil || open.Volume != name.Volume || open.Epoch != name.Epoch {
		return nil, fmt.Errorf("%s is damaged: %w", name, orInvalid(err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opens[name] = open
	return open, nil
}

func orInvalid(err error) error {
	if err == nil {
		return ballast.ErrInvalid
	}
	return err
}
