package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ballast-io/ballast"
)

// ID is the SHA-256 of a file's bytes, or of a blob's content.
type ID [32]byte

// Hash returns the ID of data.
func Hash(data []byte) ID { return sha256.Sum256(data) }

// ParseID reads what String writes; anything else is a [ballast.ErrInvalid].
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("read id %.70q: %w: want 64 hexadecimal digits", s, ballast.ErrInvalid)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("read id %q: %w: %w", s, ballast.ErrInvalid, err)
	}
	return id, nil
}

// String returns 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns as many digits as people need to tell IDs apart.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether the ID is none.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the ID as String does.
func (id ID) MarshalText() ([]byte, error) {
	return hex.AppendEncode(make([]byte, 0, 2*len(id)), id[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Type says what a blob is. Packs hold blobs of one type.
type Type uint8

// The types of blobs. They are numbered as in the header of a pack.
const (
	DataBlob Type = 0 // a piece of a file
	TreeBlob Type = 1 // a folder, as [EncodeTree] writes it
)

// String returns the name that an index uses.
func (t Type) String() string {
	switch t {
	case DataBlob:
		return "data"
	case TreeBlob:
		return "tree"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MarshalText writes the name that an index uses.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Type) UnmarshalText(text []byte) error {
	switch string(text) {
	case "data":
		*t = DataBlob
	case "tree":
		*t = TreeBlob
	default:
		return fmt.Errorf("%w: blob type %.20q is neither data nor tree", ballast.ErrInvalid, text)
	}
	return nil
}

// blobID names a blob: data and trees of one content are two blobs.
type blobID struct {
	typ Type
	id  ID
}
