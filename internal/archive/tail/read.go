package tail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

const (
	// atOnce is how many requests a Load has under way.
	atOnce = 8
	// firstRead is how much of an object is read for its header: nearly all are smaller, and a day
	// has 17,000 of them.
	firstRead = 8 << 10
	// maxCache is how many bytes of headers a Reader keeps, about.
	maxCache = 32 << 20
	// maxLoads is how often a Load begins anew because of what happens meanwhile.
	maxLoads = 3
)

// Reader reads the log tail of any volume of an archive.
type Reader struct {
	store  store.Store
	sealer Sealer

	mu    sync.Mutex // guards everything below
	known map[key]Found
	size  int // of known, in bytes, about
}

// key is what an object is known by: its content never changes but for a writer that puts
// another one where a stray one stood.
type key struct {
	name string
	size int64
}

// NewReader returns a Reader of the log in st.
func NewReader(st store.Store, sealer Sealer) *Reader {
	return &Reader{store: st, sealer: sealer, known: map[key]Found{}}
}

// Load returns the history of a volume behind from; see [Build]. A volume that is not in the
// archive has an empty one, of epoch 0. What is damaged or missing is a [Problem] of
// the line; the error says that the store could not be read. Headers are read eight at a time, and
// kept: a second Load reads what is new.
func (r *Reader) Load(ctx context.Context, volume ballast.VolumeID, from ballast.LSN) (*Line, error) {
	for try := 1; ; try++ {
		found, again, err := r.find(ctx, volume, from)
		if err != nil {
			return nil, fmt.Errorf("load the log of %s: %w", volume, err)
		}
		line := Build(volume, from, found)
		if !again && len(line.Problems) == 0 || try == maxLoads {
			return line, nil
		}
		// An object went or came while they were read, or one is not what it was when it was
		// read last: what is missing at last is so for sure.
		if try+1 == maxLoads {
			r.forget(found)
		}
	}
}

// find lists a volume's objects and reads those that are asked for. Again reports that the
// listing was out of date before it was read.
func (r *Reader) find(ctx context.Context, volume ballast.VolumeID, from ballast.LSN) (found []Found, again bool, err error) {
	for obj, err := range r.store.List(ctx, VolumePrefix(volume)) {
		if err != nil {
			return nil, false, err
		}
		found = append(found, Found{Name: obj.Name, Size: obj.Size})
	}
	// Heads first: one that is read long after the listing may name what is not in it.
	slices.SortStableFunc(found, func(a, b Found) int { return -cmp.Compare(path.Base(a.Name), path.Base(b.Name)) })
	gone := make([]bool, len(found))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range found {
		if n := ParseName(found[i].Name); n.Kind == Other || n.Kind == SegmentKind && n.Last <= from || r.recall(&found[i], n) {
			continue
		}
		group.Go(func() error {
			err := r.read(ctx, &found[i])
			if gone[i] = errors.Is(err, ballast.ErrNotFound); gone[i] {
				return nil // deleted since it was listed
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, false, err
	}
	kept := found[:0]
	for i, f := range found {
		if !gone[i] {
			kept = append(kept, f)
			r.remember(f)
		}
	}
	return kept, len(kept) < len(found), nil
}

// read reads and decodes one object. That it cannot be decoded is in f; the error is the store's.
func (r *Reader) read(ctx context.Context, f *Found) error {
	n := ParseName(f.Name)
	if n.Kind == SegmentKind {
		return r.readHeader(ctx, f)
	}
	if f.Size > MaxDocument {
		f.Err = invalid("it has %d bytes, more than it may have", f.Size)
		return nil
	}
	data, err := r.store.Get(ctx, f.Name, 0, -1)
	if err != nil {
		return err
	}
	switch n.Kind {
	case OpenKind:
		f.Open, f.Digest, f.Err = DecodeOpen(data, r.sealer)
	case HeadKind, LatestKind:
		f.Head, f.Err = DecodeHead(data, r.sealer)
	case RemovedKind:
		f.Removed, f.Err = DecodeRemoved(data, r.sealer)
	case Other, SegmentKind:
	}
	return nil
}

func (r *Reader) readHeader(ctx context.Context, f *Found) error {
	front, err := r.store.Get(ctx, f.Name, 0, min(f.Size, firstRead))
	if err != nil {
		return err
	}
	n, err := FrontSize(front)
	if err == nil && n > f.Size {
		err = errors.New("it ends within its header")
	}
	if err != nil {
		f.Err = err
		return nil //nolint:nilerr // it is in f
	}
	if n > int64(len(front)) {
		rest, err := r.store.Get(ctx, f.Name, int64(len(front)), n-int64(len(front)))
		if err != nil {
			return err
		}
		front = append(front, rest...)
	}
	f.Header, f.Err = DecodeHeader(front, r.sealer)
	return nil
}

// recall fills f from what was read before. A head, as latest is one, changes, so it is never kept.
func (r *Reader) recall(f *Found, n Name) bool {
	if n.Kind == HeadKind || n.Kind == LatestKind || n.Kind == RemovedKind {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.known[key{f.Name, f.Size}]
	if ok {
		*f = k
	}
	return ok
}

func (r *Reader) remember(f Found) {
	if f.Err != nil || f.Open == nil && f.Header == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{f.Name, f.Size}
	if _, ok := r.known[k]; ok {
		return
	}
	r.known[k], r.size = f, r.size+f.weight()
	for k, f := range r.known { // any will do
		if r.size <= maxCache {
			return
		}
		delete(r.known, k)
		r.size -= f.weight()
	}
}

func (r *Reader) forget(found []Found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range found {
		k := key{f.Name, f.Size}
		if f, ok := r.known[k]; ok {
			delete(r.known, k)
			r.size -= f.weight()
		}
	}
}

// weight is how many bytes of memory f takes, about.
func (f *Found) weight() int {
	const fixed, group, frame = 512, 48, 64
	if f.Header == nil {
		return 2 * fixed
	}
	return fixed + len(f.Name) + len(f.Header.runs) + group*len(f.Header.Groups) + frame*len(f.Header.Frames)
}

// DamageError says that an object is not what was shipped. Reading it again does not help.
type DamageError struct {
	Object string
	Err    error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Object, e.Err) }
func (e *DamageError) Unwrap() error { return e.Err }

// ReadFrame returns the data of frame i of a segment, verified (T1). A [*DamageError] means
// that they are lost.
func (r *Reader) ReadFrame(ctx context.Context, s *Segment, i int) ([]byte, error) {
	if i < 0 || i >= len(s.Header.Frames) {
		return nil, fmt.Errorf("read frame %d of %s: %w: there are %d", i, s.Name, ballast.ErrInvalid, len(s.Header.Frames))
	}
	f := s.Header.Frames[i]
	sealed, err := r.store.Get(ctx, s.Name, f.Offset, f.Length)
	if err != nil {
		return nil, fmt.Errorf("read frame %d of %s: %w", i, s.Name, err)
	}
	plain, err := s.Header.DecodeFrame(i, sealed, r.sealer)
	if err != nil {
		return nil, &DamageError{s.Name, err}
	}
	return plain, nil
}
