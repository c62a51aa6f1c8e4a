package volume

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const imageName = "image"

// Options say how to open a volume.
type Options struct {
	// Epoch is the fencing token of this opening: higher than every earlier one.
	Epoch ballast.Epoch
	// LogCapacity bounds the disk space of the log in bytes; 0 means 1 GiB. At
	// least four segments are used whatever it says.
	LogCapacity int64
	// Queue is how many bytes of segments the log keeps, beyond LogCapacity, that
	// are applied and that the archive has not read; 0 keeps none.
	Queue int64
	// Now is the clock that flushes are labelled with; nil is [time.Now]. Nothing
	// is decided from it.
	Now func() time.Time
	// StallLimit is how long a write waits for a full disk before it fails.
	StallLimit time.Duration
	// Source is where chunks that are missing come from; nil: nowhere.
	Source Source
	// FetchBudget is how long a call waits for a missing chunk before it fails,
	// which means nothing for the volume; 0 means a minute.
	FetchBudget time.Duration
	fetchers    int // chunks that one call fetches at a time; 0: some
	// Shipper carries the log to the volume's other copies; nil: this node is alone.
	Shipper Shipper
	// Unsettled says of a volume with a Shipper that not even what is in its image is known to be
	// committed: it was made as another copy stood, which may have more than the rest of them.
	Unsettled bool
	// HydrateRate bounds how fast chunks are fetched that nobody waits for, in
	// bytes a second; 0: as fast as they come.
	HydrateRate int64
	// SpillLimit bounds the disk space in bytes that snapshots take together for
	// what is overwritten while they are read; 0 means 1 GiB.
	SpillLimit int64
	// Log receives what an operator would want in the timeline of an incident;
	// nil discards it.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.LogCapacity == 0 {
		o.LogCapacity = 1 << 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FetchBudget == 0 {
		o.FetchBudget = time.Minute
	}
	if o.fetchers == 0 {
		o.fetchers = fetchers
	}
	if o.SpillLimit == 0 {
		o.SpillLimit = 1 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Volume is an open volume: its one writer on this node.
type Volume struct {
	fsys  vfs.FS
	dir   string
	id    ballast.VolumeID
	opts  Options
	image vfs.File

	segmentSize int64 // bytes
	following   bool  // the records come from a leader; see [Follower]

	counters  counters
	rhythm    rhythm
	hydration hydration
	snapshots snapshots

	foldNeeded, segmentNeeded chan struct{} // tell Run to look again; hold one

	making   sync.Mutex // held by whoever makes or removes segments
	segments int        // the number of the next segment file; guarded by making

	urgent   atomic.Int32 // callers for whom a round of apply is to be interrupted
	applying sync.Mutex   // held by whoever folds or resizes
	desc     *descriptor  // guarded by applying
	chunks   *chunks      // guarded by applying

	writing sync.Mutex // held by whoever writes the log's files, in order
	parcel  []Record   // of the batch that is being shipped; guarded by writing

	reading sync.Mutex // held by whoever reads the log for the archive
	cursor  place      // where the last such read ended; guarded by reading
	places  places     // where other such reads ended

	mu        sync.RWMutex // guards everything below
	log       log
	active    *generation
	frozen    []*generation // to be folded into the image, oldest first
	size      int64
	applied   ballast.LSN
	committed ballast.LSN
	begun     ballast.LSN // when above applied: of what is up to here the image has some; changes under applying
	imageUsed int64       // bytes of disk space
	fullSince time.Time   // when the disk was first found full; zero: it is not
	err       error       // the first failure; nothing is accepted any more (V6)
	closed    bool

	promised   ballast.Epoch // nothing of a lower one is taken; 0: see the log's history
	incomplete bool          // the image is no volume yet
}

func newVolume(fsys vfs.FS, dir string, opts Options) *Volume {
	return &Volume{fsys: fsys, dir: dir, opts: opts.withDefaults(), foldNeeded: make(chan struct{}, 1), segmentNeeded: make(chan struct{}, 1)}
}

// ID returns the volume's identity.
func (v *Volume) ID() ballast.VolumeID { return v.id }

// Size returns the volume's size in bytes.
func (v *Volume) Size() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.size
}

// Err returns why the volume accepts nothing more, or nil while it does.
func (v *Volume) Err() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.err
}

// poison makes err the volume's last word (V6) and returns it. A sync that
// failed may have dropped the very pages it was asked to save, and the next one
// would know nothing of them: so there is no next one.
func (v *Volume) poison(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.poisonLocked(err)
}

func (v *Volume) poisonLocked(err error) error {
	if v.err == nil {
		v.err = fmt.Errorf("volume %s accepts no more writes; all that was synced before is safe; detach it and attach it again: %w", v.id, err)
		v.opts.Log.Error("volume failed", "volume", v.id, "error", err, "durable_lsn", v.log.durable)
	}
	return v.err
}

// Close flushes the volume and releases it. It is safe to call more than once.
// No other call may be under way.
func (v *Volume) Close() error {
	v.mu.RLock()
	closed, failed := v.closed, v.err != nil
	v.mu.RUnlock()
	if closed {
		return nil
	}
	var err error
	for _, s := range v.snapshots.list() {
		err = errors.Join(err, s.Close())
	}
	if !failed {
		err = errors.Join(err, v.settle())
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	return errors.Join(err, v.closeFiles())
}

// settle flushes, and lets the descriptor say how far the log reaches: what is
// shorter when it is opened next is damage (V7).
func (v *Volume) settle() error {
	if err := v.Flush(); err != nil {
		return err
	}
	v.applying.Lock()
	defer v.applying.Unlock()
	return errors.Join(v.keepArrivedLocked(), v.storeDescriptor(func(*descriptor) {}))
}

// storeDescriptor saves the descriptor with a change, and with how far the log
// is durable now. The caller holds applying.
func (v *Volume) storeDescriptor(change func(*descriptor)) error {
	next := *v.desc
	change(&next)
	v.mu.RLock()
	next.Durable = v.log.durable
	v.mu.RUnlock()
	if err := next.store(v.fsys, v.dir); err != nil {
		return fmt.Errorf("write %s: %w", path.Join(v.dir, descriptorName), err)
	}
	v.desc = &next
	return nil
}

func (v *Volume) closeFiles() error {
	return errors.Join(closeSegments(v.log.held), closeSegments(v.log.used), closeSegments(v.log.free), v.image.Close(), v.chunks.file.Close())
}
