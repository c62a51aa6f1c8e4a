package tail

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// Sealer encrypts and authenticates. Unseal returns an error for whatever Seal of the same
// key did not return, whole. It must be safe for concurrent use.
type Sealer interface {
	Seal(plain []byte) []byte
	Unseal(sealed []byte) ([]byte, error)
}

// Digest is the SHA-256 of sealed bytes.
type Digest [32]byte

// IsZero reports whether d is no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns d in hexadecimal; nothing for no digest.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText returned.
func (d *Digest) UnmarshalText(text []byte) error {
	if *d = (Digest{}); len(text) == 0 {
		return nil
	}
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("%w digest: it has %d letters", ballast.ErrInvalid, len(text))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("%w digest: %w", ballast.ErrInvalid, err)
	}
	return nil
}

// Position is a place in a volume's history. LSNs alone are none: a volume that was
// restored in its place has some of them a second time, in a higher epoch.
type Position struct {
	Epoch  ballast.Epoch `json:"epoch"` // 0: the beginning of the volume
	LSN    ballast.LSN   `json:"lsn"`
	Digest Digest        `json:"digest"` // of the header of the object that holds LSN, or of the epoch's open; zero: not known
}

// Point is a moment that a volume can be restored to: the last flush of a second.
type Point struct {
	Time  time.Time     `json:"time"`
	LSN   ballast.LSN   `json:"lsn"`
	Epoch ballast.Epoch `json:"epoch"`
	Size  int64         `json:"size"` // of the volume, in bytes
}

// Origin is where a volume comes from that was restored or cloned from another one: it
// continues behind that point, under its own id.
type Origin struct {
	Volume   ballast.VolumeID `json:"volume"`
	Snapshot string           `json:"snapshot,omitempty"` // the base snapshot that it was made from
	Point    Point            `json:"point"`
}

// Open is the object that begins an epoch, and with it a writer's claim to the history.
type Open struct {
	Volume ballast.VolumeID   `json:"volume"`
	Epoch  ballast.Epoch      `json:"epoch"`
	Name   string             `json:"name"` // of the volume, for people
	Spec   ballast.VolumeSpec `json:"spec"`
	Parent Position           `json:"parent"` // it continues behind this record
	Origin *Origin            `json:"origin,omitempty"`
	Node   ballast.NodeID     `json:"node"`
	Time   time.Time          `json:"time"`            // for people
	Owner  string             `json:"owner,omitempty"` // by which the node knows its copy of the volume; up to 64 bytes
	Nonce  string             `json:"nonce"`           // by which the writer knows it for its own; random, 16 to 64 bytes
}

// Removed is the object that says that a volume was removed. One that was opened under a
// higher epoch since is back.
type Removed struct {
	Volume ballast.VolumeID `json:"volume"`
	Epoch  ballast.Epoch    `json:"epoch"` // the volume's when it was removed
	Time   time.Time        `json:"time"`
}

// Reign is an epoch of a volume and where it continues. Every object of the epoch has it, so
// that the loss of one is no loss of the way back.
type Reign struct {
	Volume ballast.VolumeID `json:"volume"`
	Epoch  ballast.Epoch    `json:"epoch"`
	Open   Digest           `json:"open"` // of the sealed open
	Parent Position         `json:"parent"`
}

// Head is the object that names the newest object of its epoch.
type Head struct {
	Reign
	Last   ballast.LSN `json:"last"`   // the last record that is shipped
	Digest Digest      `json:"digest"` // of the header of the object that holds it; of the open, if there is none
}

// Header is the first part of an object of the log: what it holds, and where.
type Header struct {
	Reign
	Prev   Digest      // of the header before it in the epoch; of the open, if it is the first
	Behind ballast.LSN // the last record before it in the archive: what is between that and First was given up
	First  ballast.LSN // its first record
	Last   ballast.LSN // its last record
	Groups []Group     // in order; never empty
	Frames []Frame     // of the data of all groups, in order

	runs   []byte // packed, see [Header.Runs]
	blocks uint64 // of data, in all frames
	digest Digest // of the sealed header
	size   int64  // bytes of the whole object
}

// Group is the part of an object that ends at one point.
type Group struct {
	Last ballast.LSN // its last record
	Time time.Time   // of the flush; zero: no point
	Size int64       // of the volume, in bytes
}

// IsPoint reports whether a restore can stop at the end of the group.
func (g Group) IsPoint() bool { return !g.Time.IsZero() }

// Frame is the unit in which data are sealed and fetched: FrameBlocks blocks, fewer in the last.
type Frame struct {
	Offset int64  // in the object, in bytes
	Length int64  // sealed, in bytes
	Plain  bool   // not compressed, as that would not have made it smaller
	Sum    Digest // of the sealed bytes
}

// FrameBlocks is how many blocks of data a frame has. Frame i of an object has the blocks
// from i*FrameBlocks on of all data of its groups, in the order of runs.
const FrameBlocks = ballast.ChunkSize / ballast.BlockSize

// Digest returns the digest of the sealed header, which the next object names.
func (h *Header) Digest() Digest { return h.digest }

// ObjectSize returns the size in bytes of the whole object.
func (h *Header) ObjectSize() int64 { return h.size }

// FrontSize returns how many bytes the object has before its frames.
func (h *Header) FrontSize() int64 {
	if len(h.Frames) == 0 {
		return h.size
	}
	return h.Frames[0].Offset
}

// Position returns where a writer is that has shipped the object.
func (h *Header) Position() Position { return Position{h.Epoch, h.Last, h.digest} }
