package tail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// OpenEpoch claims the history for o.Epoch, which must be higher than any before. Where it
// continues is o.Parent; where that is zero, it is where this writer is. Open's volume, owner
// and nonce are set here. It can be repeated until it succeeds, also after a crash. [ErrFenced]
// means that somebody else opened this epoch or a higher one.
func (s *Shipper) OpenEpoch(ctx context.Context, o Open) error {
	if err := s.openEpoch(ctx, o); err != nil {
		return fmt.Errorf("open epoch %d of %s in the archive: %w", o.Epoch, s.Volume, err)
	}
	return nil
}

func (s *Shipper) openEpoch(ctx context.Context, o Open) error {
	switch {
	case s.state.Fenced:
		return ErrFenced
	case o.Epoch == s.state.Epoch && s.state.Nonce != "":
		return s.settle(ctx)
	case o.Epoch == s.state.Epoch:
		return s.fence(fmt.Sprintf("epoch %d is opened", o.Epoch))
	case o.Epoch < s.state.Epoch:
		return invalid("the volume is at epoch %d", s.state.Epoch)
	}
	if next := s.state.Next; next != nil && next.Epoch < o.Epoch {
		// It may be in the store: this writer must not take it for another one's.
		if err := s.openEpoch(ctx, *next); err != nil {
			return err
		}
	}
	if err := s.prepare(ctx, &o); err != nil {
		return err
	}
	if err := s.checkFence(ctx, o.Epoch); err != nil {
		return err
	}
	digest, err := s.create(ctx, &o)
	if err != nil {
		return err
	}
	next := State{Head: Head{o.reign(digest), o.Parent.LSN, digest}, Nonce: o.Nonce}
	// The head comes before the first segment, so that a head that is missing was lost.
	if err := s.putHead(ctx, &next.Head); err != nil {
		return err
	}
	// Beside the epochs, so that the loss of a whole one does not go unnoticed. What a
	// former writer puts there too late says less than what is found, and does no harm.
	if err := s.putAs(ctx, Name{Kind: LatestKind, Volume: s.Volume}, &next.Head); err != nil {
		return err
	}
	s.unheaded, s.shipped = false, nil
	return s.change(next)
}

// prepare completes o and saves it before anything of it can be in the store. One that was
// saved before and may be there is taken again.
func (s *Shipper) prepare(ctx context.Context, o *Open) error {
	if next := s.state.Next; next != nil && next.Epoch == o.Epoch {
		*o = *next
		return nil
	}
	if o.Parent == (Position{}) {
		if s.state.Epoch > 0 && s.state.Nonce == "" {
			return s.fence(fmt.Sprintf("epoch %d is another writer's, and nothing says that this copy continues it", s.state.Epoch))
		}
		if s.state.Epoch > 0 && s.checked >= checkEvery {
			// What was shipped before a crash belongs to where it continues.
			if err := s.check(ctx); err != nil {
				return err
			}
		}
		o.Parent = s.state.Position()
	}
	o.Volume, o.Owner, o.Nonce = s.Volume, s.Owner, newNonce()
	if err := o.check(); err != nil {
		return err
	}
	next := s.state
	next.Next = o
	return s.change(next)
}

// checkFence looks for an epoch that somebody opened since this writer last knew the highest.
func (s *Shipper) checkFence(ctx context.Context, mine ballast.Epoch) error {
	for obj, err := range s.Store.List(ctx, VolumePrefix(s.Volume)) {
		if err != nil {
			return err
		}
		if err := s.checkFencedBy(ctx, obj.Name, mine); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shipper) checkFencedBy(ctx context.Context, name string, mine ballast.Epoch) error {
	n := ParseName(name)
	if n.Kind != OpenKind || n.Epoch <= s.state.Epoch || n.Epoch == mine || seeded(shipFenced) {
		return nil
	}
	sealed, err := s.Store.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	if o, _, err := DecodeOpen(sealed, s.Sealer); err != nil || o.Volume != n.Volume || o.Epoch != n.Epoch {
		return &DamageError{name, errors.Join(err, errors.New("it may be of a writer that has followed"))}
	}
	return s.fence(fmt.Sprintf("epoch %d is opened", n.Epoch))
}

// create puts the open, if nobody else has. Of an open that is there and has our nonce, it
// returns the digest.
func (s *Shipper) create(ctx context.Context, o *Open) (Digest, error) {
	name := Name{Kind: OpenKind, Volume: s.Volume, Epoch: o.Epoch}.String()
	sealed, digest, err := EncodeOpen(o, s.Sealer)
	if err != nil {
		return Digest{}, err
	}
	if seeded(openOver) {
		return digest, s.Store.Put(ctx, name, sealed)
	}
	err = s.Store.Create(ctx, name, sealed)
	if err == nil || !errors.Is(err, ballast.ErrExists) {
		return digest, err
	}
	there, err := s.Store.Get(ctx, name, 0, -1)
	if err != nil {
		return Digest{}, err
	}
	is, digest, err := DecodeOpen(there, s.Sealer)
	switch {
	case err != nil:
		return Digest{}, &DamageError{name, err}
	case is.Nonce != o.Nonce || is.Volume != o.Volume || is.Epoch != o.Epoch || is.Parent != o.Parent:
		return Digest{}, s.fence(fmt.Sprintf("epoch %d is opened, by node %s", is.Epoch, is.Node))
	}
	return digest, nil
}

// Ship puts d behind what was shipped, then the head, then saves the state: when it returns nil,
// every record of d stays in the history (T4). Of d, what was shipped before is left out; what is
// missing before it, is given up (see [Line.Gaps]). After an error it can be repeated,
// with the same delta, or with another one that begins at or before State().Last: it
// does not matter how much of it was done, or how the new delta is cut.
//
// Its epoch must be open. A [*LostError] says that the store lost what it had acknowledged; nothing
// was shipped then, and repeating it does.
func (s *Shipper) Ship(ctx context.Context, d *delta.Delta) error {
	if err := s.ship(ctx, d); err != nil {
		return fmt.Errorf("ship the tail of %s: %w", s.Volume, err)
	}
	return nil
}

func (s *Shipper) ship(ctx context.Context, d *delta.Delta) error {
	switch err := d.Validate(); {
	case err != nil:
		return err
	case s.state.Fenced:
		return ErrFenced
	case d.Epoch == s.state.Epoch && s.state.Nonce == "":
		return s.fence(fmt.Sprintf("epoch %d is opened", d.Epoch))
	case d.Volume != s.Volume || d.Epoch != s.state.Epoch:
		return invalid("a delta of epoch %d of %s; epoch %d of %s is open", d.Epoch, d.Volume, s.state.Epoch, s.Volume)
	}
	if s.checked >= checkEvery {
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	rest := trim(d, s.state.Last)
	if rest == nil {
		return nil
	}
	obj, err := Encode(rest, Link{s.state.Reign, s.state.Digest, s.state.Last}, s.Sealer)
	if err != nil {
		return err
	}
	if seeded(headBeforeSegment) {
		s.advance(obj.Name, obj.Header)
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	if err := s.put(ctx, obj); err != nil {
		return err
	}
	s.advance(obj.Name, obj.Header)
	s.checked++
	return s.settle(ctx)
}

// trim leaves out what ends at or before last; nil: that is all. A group that goes over it stays
// whole: it makes its end of every state since its beginning.
func trim(d *delta.Delta, last ballast.LSN) *delta.Delta {
	i := slices.IndexFunc(d.Groups, func(g delta.Group) bool { return g.Last > last })
	if i < 0 {
		return nil
	}
	rest := *d
	rest.Groups = d.Groups[i:]
	if i > 0 {
		rest.After = d.Groups[i-1].Last
	}
	rest.After = max(rest.After, last)
	return &rest
}

// put creates the object. One that is there under its name was put by this writer before an
// error or a crash: if it is whole and stands in the same place, it is taken; if not, nothing
// stands on it, and it is replaced. Put instead of Create would let a first try that
// arrives late replace the second one, which the next object already names.
func (s *Shipper) put(ctx context.Context, obj *Object) error {
	err := s.Store.Create(ctx, obj.Name, obj.Data)
	if !errors.Is(err, ballast.ErrExists) {
		return err
	}
	there, err := s.Store.Get(ctx, obj.Name, 0, -1)
	if err != nil {
		return err
	}
	if h, err := s.verify(there); err == nil && h.Reign == obj.Header.Reign && h.Prev == obj.Header.Prev &&
		h.First == obj.Header.First && h.Last == obj.Header.Last {
		obj.Header = h
		return nil
	}
	return s.Store.Put(ctx, obj.Name, obj.Data)
}

// verify reads a whole object.
func (s *Shipper) verify(object []byte) (*Header, error) {
	h, err := DecodeHeader(object, s.Sealer)
	if err != nil {
		return nil, err
	}
	if h.size != int64(len(object)) {
		return nil, fmt.Errorf("it has %d bytes; want %d", len(object), h.size)
	}
	for i, f := range h.Frames {
		if _, err := h.DecodeFrame(i, object[f.Offset:f.Offset+f.Length], s.Sealer); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// advance notes that the object is in the store.
func (s *Shipper) advance(name string, h *Header) {
	s.state.Last, s.state.Digest, s.state.Object = h.Last, h.digest, name
	s.unheaded, s.unsaved = true, true
	s.shipped = append(s.shipped, name)
}

// Settle does what an error left of the last shipment, for a volume that has no more to ship.
// Where nothing is left it makes no request (T6).
func (s *Shipper) Settle(ctx context.Context) error {
	if s.state.Fenced {
		return fmt.Errorf("settle the tail of %s: %w", s.Volume, ErrFenced)
	}
	if s.state.Nonce == "" {
		return nil // it has shipped nothing
	}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("settle the tail of %s: %w", s.Volume, err)
	}
	return nil
}

// settle does what is left of the last shipment: head, then state.
func (s *Shipper) settle(ctx context.Context) error {
	if s.unheaded {
		if err := s.putHead(ctx, &s.state.Head); err != nil {
			return err
		}
		s.unheaded = false
	}
	return s.save()
}

func (s *Shipper) putHead(ctx context.Context, h *Head) error {
	return s.putAs(ctx, Name{Kind: HeadKind, Volume: h.Volume, Epoch: h.Epoch}, h)
}

func (s *Shipper) putAs(ctx context.Context, name Name, h *Head) error {
	sealed, err := EncodeHead(h, s.Sealer)
	if err != nil {
		return err
	}
	return s.Store.Put(ctx, name.String(), sealed)
}

// LostError says that the store lost objects that it had acknowledged. What they held is missing
// in the history; a new base snapshot leads on behind it.
type LostError struct{ Objects []string }

func (e *LostError) Error() string {
	return "the store lost what it had acknowledged: " + strings.Join(e.Objects, ", ") + "; take a base snapshot"
}
