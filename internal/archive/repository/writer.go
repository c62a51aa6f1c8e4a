package repository

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
)

// An index file is written before the end of a long upload, so that most of it counts
// when it is interrupted: every 4 GiB.
const packsPerIndex = 256

// Writer saves blobs. One that has failed stays so: what it saved may be incomplete.
type Writer struct {
	r *Repository
	// life ends with Close: an upload outlives the call that filled its pack.
	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup // of uploads

	mu   sync.Mutex          // guards everything below
	seen map[blobID]struct{} // saved here, and not yet in the index
	open [2]*packer          // by Type
	done []indexedPack       // uploaded, and not yet in an index file
	err  error               // the first failure
}

// NewWriter returns a writer, whose caller holds a lock, and must Close it.
func (r *Repository) NewWriter() *Writer {
	life, end := context.WithCancel(context.Background())
	return &Writer{r: r, life: life, end: end, seen: map[blobID]struct{}{}}
}

// Save saves a blob unless the repository has it, and says whether it had to. The blob
// is durable after the next Flush. It keeps nothing of data. It waits while too
// much is being uploaded. Safe for concurrent use.
func (w *Writer) Save(ctx context.Context, t Type, data []byte) (id ID, added bool, err error) {
	if len(data) > maxBlob {
		return ID{}, false, fmt.Errorf("save %v of %d bytes: %w: more than a blob can be", t, len(data), ballast.ErrInvalid)
	}
	id = Hash(data)
	fresh, err := w.claim(blobID{t, id})
	if err != nil || !fresh {
		return id, false, err
	}
	buf := take(w.r.pool.blobs, len(data)+Overhead)
	b, sealed := w.r.seal(buf, t, id, data)
	err = w.add(ctx, b, sealed)
	give(w.r.pool.blobs, sealed, 8<<20)
	if err != nil {
		err = fmt.Errorf("save %v %s: %w", t, id.Short(), err)
		w.fail(err)
		return id, false, err
	}
	return id, true, nil
}

// claim reports whether a blob is to be saved now: it is not in the index, and
// nobody claimed it before.
func (w *Writer) claim(b blobID) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false, w.err
	}
	if _, seen := w.seen[b]; seen || w.r.index.has(b) {
		return false, nil
	}
	w.seen[b] = struct{}{}
	return true, nil
}

// seal compresses and seals a blob into buf. Data that do not get smaller are kept as
// they are; trees are always compressed, but for an empty one.
func (r *Repository) seal(buf []byte, t Type, id ID, data []byte) (packBlob, []byte) {
	b := packBlob{id: id, typ: t, plain: uint32(len(data))}
	room := append(buf, make([]byte, ivSize)...)
	text := room
	if len(data) > 0 {
		text = r.codec.compress(room, data)
	}
	if len(data) == 0 || (t == DataBlob && len(text)-ivSize >= len(data)) {
		b.plain = 0
		text = append(text[:ivSize], data...)
	}
	sealed := r.sealer.sealInPlace(text)
	b.length = uint32(len(sealed))
	return b, sealed
}

// add puts a sealed blob into a pack, and uploads the pack if it is full.
func (w *Writer) add(ctx context.Context, b packBlob, sealed []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.open[b.typ]
	if p == nil {
		p = w.newPackerLocked(b.typ)
	}
	p.add(b, sealed)
	if !p.full(w.r.target) {
		return nil
	}
	w.open[b.typ] = nil
	return w.uploadLocked(ctx, p)
}

func (w *Writer) newPackerLocked(t Type) *packer {
	p := &packer{}
	if t == DataBlob {
		p.data = take(w.r.pool.packs, w.r.target+w.r.target/10)
	}
	w.open[t] = p
	return p
}

// uploadLocked starts the upload of a pack. It waits for a place with the lock held:
// whoever would fill another pack meanwhile would only need more memory.
func (w *Writer) uploadLocked(ctx context.Context, p *packer) error {
	select {
	case w.r.pool.uploads <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.life.Done():
		return errClosed
	}
	w.wg.Go(func() {
		pack, err := w.r.putPack(w.life, p)
		<-w.r.pool.uploads // before the lock, which one who waits for this place holds
		if err == nil {
			err = w.uploaded(pack)
		}
		if err != nil {
			w.fail(err)
		}
	})
	return nil
}

var errClosed = errors.New("the writer is closed")

// uploaded takes note of a durable pack, and writes an index file every so often.
func (w *Writer) uploaded(pack indexedPack) error {
	w.mu.Lock()
	w.done = append(w.done, pack)
	blobs := 0
	for _, p := range w.done {
		blobs += len(p.blobs)
	}
	if len(w.done) < packsPerIndex && blobs < maxIndexBlobs {
		w.mu.Unlock()
		return nil
	}
	packs := w.done
	w.done = nil
	w.mu.Unlock()
	return w.putIndex(w.life, packs)
}

// putIndex makes the index of durable packs durable (A1).
func (w *Writer) putIndex(ctx context.Context, packs []indexedPack) error {
	if len(packs) == 0 {
		return nil
	}
	if _, err := w.r.putIndex(ctx, packs); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range packs {
		for _, b := range p.blobs {
			delete(w.seen, blobID{b.typ, b.id})
		}
	}
	return nil
}

// Flush makes every blob that was saved durable, and the index that names it: only
// then a snapshot may refer to them (A1). No Save may be under way.
func (w *Writer) Flush(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.end)()
	w.uploadRest(ctx)
	if seeded(snapshotBeforeData) {
		return nil
	}
	w.wg.Wait()
	w.mu.Lock()
	packs, err := w.done, w.err
	w.done = nil
	w.mu.Unlock()
	if err == nil {
		err = w.putIndex(ctx, packs)
	}
	if err != nil {
		w.fail(err)
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// uploadRest uploads the packs that are not full.
func (w *Writer) uploadRest(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, p := range w.open {
		w.open[t] = nil
		if p == nil || w.err != nil {
			continue
		}
		if err := w.uploadLocked(ctx, p); err != nil {
			w.err = err
		}
	}
}

// Close ends what is under way and waits for it. What was not flushed is as if
// it had never been saved, but for the room it takes until the next prune.
func (w *Writer) Close() error {
	w.end()
	w.wg.Wait()
	w.fail(errClosed)
	return nil
}

// fail keeps the first error.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}
