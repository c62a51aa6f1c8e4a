package volume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	descriptorName = "volume.json"
	descriptorMax  = 1 << 20 // bytes; a longer one is not ours
)

// descriptor is volume.json: what a volume is, and what of its log is settled.
type descriptor struct {
	Format  int              `json:"format"`
	ID      ballast.VolumeID `json:"id"`
	Size    int64            `json:"size"` // bytes
	Segment int64            `json:"segment"`
	Salt    uint64           `json:"salt,string"`
	Applied ballast.LSN      `json:"applied"` // every record up to it is in the image
	Durable ballast.LSN      `json:"durable"` // the log holds at least this
	History Lineage          `json:"history,omitempty"`
	// From here on: version 2.
	Promised   ballast.Epoch `json:"promised,omitempty"`       // nothing of a lower epoch is taken (R4), though no record carries it
	Incomplete bool          `json:"incomplete,omitempty"`     // the image is no volume yet
	Merging    uint64        `json:"merging,omitempty,string"` // the salt of the staging that is being copied into the image; 0: none
}

// envelope is the file: the descriptor's bytes and their checksum.
type envelope struct {
	CRC32C string          `json:"crc32c"`
	Volume json.RawMessage `json:"volume"`
}

// epoch is the highest epoch the volume was opened under, or that was promised to
// a leader; 0 if there was none.
func (d *descriptor) epoch() ballast.Epoch { return max(d.History.Epoch(), d.Promised) }

// version is the first one that has what the descriptor says: a release that knows
// less goes on reading volumes that need no more.
func (d *descriptor) version() int {
	if d.Promised != 0 || d.Incomplete || d.Merging != 0 {
		return 2
	}
	return 1
}

func (d *descriptor) encode() ([]byte, error) {
	versioned := *d
	versioned.Format = d.version()
	body, err := json.Marshal(versioned)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(envelope{sum(body), body})
	return append(b, '\n'), err
}

func sum(b []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli)) }

// decodeDescriptor refuses what encode would not write.
func decodeDescriptor(b []byte) (*descriptor, error) {
	var e envelope
	if err := strict(b, &e); err != nil {
		return nil, err
	}
	if e.CRC32C != sum(e.Volume) {
		return nil, errors.New("checksum does not match")
	}
	var version struct{ Format int }
	if err := json.Unmarshal(e.Volume, &version); err != nil {
		return nil, err
	}
	if version.Format < 1 || version.Format > FormatVersion {
		return nil, fmt.Errorf("format version %d; this Ballast reads versions 1 to %d", version.Format, FormatVersion)
	}
	d := new(descriptor)
	if err := strict(e.Volume, d); err != nil {
		return nil, err
	}
	return d, d.validate()
}

func (d *descriptor) validate() error {
	switch {
	case d.Size <= 0 || d.Size%ballast.ChunkSize != 0:
		return fmt.Errorf("size %d is no multiple of %d", d.Size, ballast.ChunkSize)
	case d.Segment < minSegment || d.Segment > maxSegment || d.Segment%blockSize != 0:
		return fmt.Errorf("segment size %d", d.Segment)
	case d.Applied > d.Durable:
		return fmt.Errorf("applied LSN %d beyond durable LSN %d", d.Applied, d.Durable)
	case d.Format < d.version():
		return fmt.Errorf("version %d cannot say this", d.Format)
	case d.Merging != 0 && !d.Incomplete:
		return errors.New("an image that is being merged is complete")
	case !d.History.valid():
		return errors.New("epochs out of order")
	}
	return nil
}

func strict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func loadDescriptor(fsys vfs.FS, dir string) (*descriptor, error) {
	name := path.Join(dir, descriptorName)
	b, err := vfs.ReadFile(fsys, name, descriptorMax)
	if err != nil {
		return nil, err
	}
	d, err := decodeDescriptor(b)
	if err != nil {
		return nil, &CorruptError{File: name, Reason: err.Error()}
	}
	return d, nil
}

// store replaces the descriptor: after a power cut there is the old one or the
// new one, and once store has returned nil, the new one.
func (d *descriptor) store(fsys vfs.FS, dir string) error {
	b, err := d.encode()
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, path.Join(dir, descriptorName), b)
}
