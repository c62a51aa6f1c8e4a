package volume

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Open opens the volume in dir for writing, under an epoch that is higher than
// any before, else the error is [ErrStaleEpoch] (V5). Damage is a
// [*CorruptError] and changes nothing. The caller must Close the result, and
// should run [Volume.Run].
func Open(fsys vfs.FS, dir string, opts Options) (_ *Volume, err error) {
	v := &Volume{fsys: fsys, dir: dir, opts: opts.withDefaults(), foldNeeded: make(chan struct{}, 1), segmentNeeded: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open volume in %s: %w", dir, errors.Join(err, v.abandon()))
		}
	}()
	if v.desc, err = loadDescriptor(fsys, dir); err != nil {
		return nil, err
	}
	if opts.Epoch <= v.desc.epoch() {
		return nil, fmt.Errorf("%w: it was opened under %v, not below %v again", ErrStaleEpoch, v.desc.epoch(), opts.Epoch)
	}
	v.id, v.size, v.segmentSize, v.applied = v.desc.ID, v.desc.Size, v.desc.Segment, v.desc.Applied
	if err := v.openFiles(); err != nil {
		return nil, err
	}
	v.snapshots.spilled.limit = v.opts.SpillLimit
	removeSpills(fsys, dir)
	if err := v.recover(); err != nil {
		return nil, err
	}
	return v, v.begin()
}

func (v *Volume) openFiles() (err error) {
	if v.image, err = v.fsys.Open(path.Join(v.dir, imageName)); err != nil {
		return err
	}
	size, err := v.image.Size()
	if err != nil {
		return err
	}
	if size < v.size {
		return &CorruptError{File: path.Join(v.dir, imageName), Offset: size, Reason: fmt.Sprintf("the file ends here, the volume at %d", v.size)}
	}
	if v.imageUsed, err = v.image.Allocated(); err != nil {
		return err
	}
	if v.chunks, err = openChunks(v.fsys, v.dir, v.size); err != nil {
		return err
	}
	v.hydration.init(v.chunks, v.opts)
	return nil
}

// recover reads the log, and takes up its tail.
func (v *Volume) recover() error {
	segs, err := openSegments(v.fsys, v.dir, v.desc)
	if err != nil {
		return err
	}
	v.log = log{salt: v.desc.Salt, epoch: v.opts.Epoch, free: segs, queue: queue{capacity: v.opts.Queue}}
	v.active = newGeneration(v.applied + 1)
	r := &recovery{desc: v.desc, visit: func(_ *batchHeader, rec record) {
		if rec.lsn > v.applied {
			v.index(rec)
		}
	}}
	if err := r.read(segs); err != nil {
		return err
	}
	return v.adopt(r, segs)
}

// adopt continues the log where recovery found its end.
func (v *Volume) adopt(r *recovery, segs []*segment) error {
	l := &v.log
	l.used, l.free = r.segs, nil
	l.last = r.next - 1
	if len(l.used) > 0 {
		l.next = uint64(r.end - l.current().at(0)) // a torn batch is written over
		l.held = heldBefore(l.used[0], segs, v.desc.History)
	}
	for _, s := range segs {
		l.seq = max(l.seq, s.seq)
		v.segments = max(v.segments, segmentNumber(s.name)+1)
		if !slices.Contains(r.segs, s) && !slices.Contains(l.held, s) {
			l.free = append(l.free, s)
		}
	}
	l.trim()
	return errors.Join(v.removeUnfinished(), v.wipeFree())
}

// wipeFree takes its header from every segment that is not kept. One that
// was begun after a torn batch may claim a first LSN that will be given out
// again: then it would be taken for the log's beginning.
func (v *Volume) wipeFree() error {
	for _, s := range v.log.free {
		if s.seq == 0 {
			continue
		}
		s.seq = 0
		if _, err := s.file.WriteAt(make([]byte, blockSize), 0); err != nil {
			return fmt.Errorf("wipe log segment: %w", err)
		}
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("wipe log segment: %w", err)
		}
	}
	return nil
}

// removeUnfinished removes what was being made when the power failed.
func (v *Volume) removeUnfinished() error {
	whole := v.log.free[:0:0]
	var err error
	for _, s := range v.log.free {
		if s.isWhole() {
			whole = append(whole, s)
		} else {
			err = errors.Join(err, s.remove(v.fsys))
		}
	}
	v.log.free = whole
	return err
}

func segmentNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".log"))
	if err != nil {
		return 0
	}
	return n
}

// begin makes what was recovered durable, and the epoch the volume's own,
// before the first record can carry it.
func (v *Volume) begin() error {
	for _, s := range v.log.used {
		// What was read may have come from the page cache of a machine that did
		// not fail, and not from its disk.
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("sync log: %w", err)
		}
	}
	v.log.durable, v.committed = v.log.last, v.log.last
	oldest := max(v.applied, 1) // whose epoch a snapshot may ask for
	if len(v.log.used) > 0 {
		oldest = min(oldest, v.log.used[0].first) // recovery reads whole segments
	}
	if len(v.log.held) > 0 {
		oldest = min(oldest, v.log.held[0].first)
	}
	err := v.storeDescriptor(func(d *descriptor) {
		d.History = d.History.begin(v.opts.Epoch, v.log.last+1, oldest)
	})
	if err != nil {
		return err
	}
	v.log.history = v.desc.History
	if v.log.last > 0 {
		v.log.points.note(point{lsn: v.log.last, time: v.opts.Now(), size: v.size, end: v.log.end(), opened: true})
	}
	v.opts.Log.Info("volume opened", "volume", v.id, "epoch", uint64(v.opts.Epoch),
		"last_lsn", uint64(v.log.last), "applied_lsn", uint64(v.applied))
	return nil
}

// abandon releases what a failed Open has opened so far.
func (v *Volume) abandon() error {
	err := errors.Join(closeSegments(v.log.held), closeSegments(v.log.used), closeSegments(v.log.free))
	if v.image != nil {
		err = errors.Join(err, v.image.Close())
	}
	if v.chunks != nil {
		err = errors.Join(err, v.chunks.file.Close())
	}
	return err
}

// Epoch is the fencing token the volume is open under.
func (v *Volume) Epoch() ballast.Epoch { return v.opts.Epoch }
