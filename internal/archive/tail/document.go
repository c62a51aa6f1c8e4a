package tail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/delta"
)

// FormatVersion is the version of the format that this package writes. It reads every
// version from 1 on.
const FormatVersion = 1

// MaxDocument is the size in bytes that no open, head or removed reaches.
const MaxDocument = 256 << 10

const (
	minNonce = 16
	maxNonce = 64
	maxNode  = 256
)

// document is an open, a head or a removed, before it is sealed. It says what it is, so that
// none can stand in another's place.
type document struct {
	Format  int      `json:"ballast_log"` // the version of the format
	Open    *Open    `json:"open,omitempty"`
	Head    *Head    `json:"head,omitempty"`
	Removed *Removed `json:"removed,omitempty"`
}

// EncodeOpen returns o sealed, and the digest of that.
func EncodeOpen(o *Open, sealer Sealer) ([]byte, Digest, error) {
	if err := o.check(); err != nil {
		return nil, Digest{}, fmt.Errorf("encode open of %s: %w", o.Volume, err)
	}
	sealed, err := encodeDocument(document{Open: o}, sealer)
	return sealed, sha256.Sum256(sealed), err
}

// DecodeOpen reads what EncodeOpen returned.
func DecodeOpen(sealed []byte, sealer Sealer) (*Open, Digest, error) {
	doc, err := decodeDocument(sealed, sealer)
	if err == nil && doc.Open == nil {
		err = errors.New("it is no open")
	}
	if err == nil {
		err = doc.Open.check()
	}
	if err != nil {
		return nil, Digest{}, fmt.Errorf("decode open: %w", err)
	}
	return doc.Open, sha256.Sum256(sealed), nil
}

// EncodeHead returns h sealed.
func EncodeHead(h *Head, sealer Sealer) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("encode head of %s: %w", h.Volume, err)
	}
	return encodeDocument(document{Head: h}, sealer)
}

// DecodeHead reads what EncodeHead returned.
func DecodeHead(sealed []byte, sealer Sealer) (*Head, error) {
	doc, err := decodeDocument(sealed, sealer)
	if err == nil && doc.Head == nil {
		err = errors.New("it is no head")
	}
	if err == nil {
		err = doc.Head.check()
	}
	if err != nil {
		return nil, fmt.Errorf("decode head: %w", err)
	}
	return doc.Head, nil
}

// EncodeRemoved returns r sealed.
func EncodeRemoved(r *Removed, sealer Sealer) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("encode removed of %s: %w", r.Volume, err)
	}
	return encodeDocument(document{Removed: r}, sealer)
}

// DecodeRemoved reads what EncodeRemoved returned.
func DecodeRemoved(sealed []byte, sealer Sealer) (*Removed, error) {
	doc, err := decodeDocument(sealed, sealer)
	if err == nil && doc.Removed == nil {
		err = errors.New("it is no removed")
	}
	if err == nil {
		err = doc.Removed.check()
	}
	if err != nil {
		return nil, fmt.Errorf("decode removed: %w", err)
	}
	return doc.Removed, nil
}

func encodeDocument(doc document, sealer Sealer) ([]byte, error) {
	doc.Format = FormatVersion
	plain, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if sealed := sealer.Seal(plain); len(sealed) <= MaxDocument {
		return sealed, nil
	}
	return nil, invalid("%d bytes are more than it may have", len(plain))
}

func decodeDocument(sealed []byte, sealer Sealer) (doc document, err error) {
	if len(sealed) > MaxDocument {
		return doc, invalid("it has %d bytes, more than it may have", len(sealed))
	}
	plain, err := sealer.Unseal(sealed)
	if err != nil {
		return doc, err
	}
	var probe struct {
		Format int `json:"ballast_log"`
	}
	if err := json.Unmarshal(plain, &probe); err != nil {
		return doc, err
	}
	if probe.Format < 1 || probe.Format > FormatVersion {
		return doc, &versionError{uint64(max(probe.Format, 0))}
	}
	// The same version has the same fields: another one is not ours.
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	return doc, dec.Decode(&doc)
}

// versionError is a format that this release does not read.
type versionError struct{ version uint64 }

func (e *versionError) Error() string {
	return fmt.Sprintf("it has format %d, this release reads up to %d: upgrade", e.version, FormatVersion)
}

func (o *Open) check() error {
	reign := o.reign(Digest{1})
	if err := reign.check(); err != nil {
		return err
	}
	switch {
	case o.Origin != nil && !delta.IsVolumeID(o.Origin.Volume):
		return invalid("its origin %q is no volume", o.Origin.Volume)
	case len(o.Nonce) < minNonce || len(o.Nonce) > maxNonce:
		return invalid("its nonce has %d bytes", len(o.Nonce))
	case len(o.Owner) > maxNonce || len(o.Node) > maxNode:
		return invalid("its node or owner is too long")
	case o.Time.IsZero():
		return invalid("it has no time")
	}
	if err := ballast.CheckVolumeName(o.Name); err != nil {
		return err
	}
	return o.Spec.Check()
}

// reign returns what every object of the epoch has of o.
func (o *Open) reign(digest Digest) Reign { return Reign{o.Volume, o.Epoch, digest, o.Parent} }

func (r *Reign) check() error {
	switch {
	case !delta.IsVolumeID(r.Volume):
		return invalid("%q is no volume", r.Volume)
	case r.Epoch == 0 || r.Parent.Epoch >= r.Epoch:
		return invalid("epoch %d cannot continue epoch %d", r.Epoch, r.Parent.Epoch)
	case r.Open.IsZero():
		return invalid("it does not name its open")
	}
	return nil
}

func (h *Head) check() error {
	if err := h.Reign.check(); err != nil {
		return err
	}
	if h.Digest.IsZero() || h.Last < h.Parent.LSN {
		return invalid("it names nothing")
	}
	return nil
}

func (r *Removed) check() error {
	if !delta.IsVolumeID(r.Volume) || r.Time.IsZero() || r.Time.After(time.Unix(1<<40, 0)) {
		return invalid("it names no volume or no time")
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w object: %s", ballast.ErrInvalid, fmt.Sprintf(format, args...))
}

// MarkRemoved puts the object that says that a volume was removed.
func MarkRemoved(ctx context.Context, st store.Store, sealer Sealer, r *Removed) error {
	sealed, err := EncodeRemoved(r, sealer)
	if err != nil {
		return err
	}
	if err := st.Put(ctx, Name{Kind: RemovedKind, Volume: r.Volume}.String(), sealed); err != nil {
		return fmt.Errorf("mark %s as removed in the archive: %w", r.Volume, err)
	}
	return nil
}
