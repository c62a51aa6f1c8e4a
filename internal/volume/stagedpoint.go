package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// stagedPoint is staging/point.json: what the chunks beside it are of.
type stagedPoint struct {
	Format  int           `json:"format"`
	Salt    uint64        `json:"salt,string"`       // keys the index
	Direct  bool          `json:"direct,omitempty"`  // the chunks are in the image
	Adopted bool          `json:"adopted,omitempty"` // their file is the whole image, and takes its name
	LSN     ballast.LSN   `json:"lsn"`
	Epoch   ballast.Epoch `json:"epoch"`
	Size    int64         `json:"size"`
	Lineage Lineage       `json:"lineage,omitempty"`
}

// pointEnvelope is the file: the point's bytes and their checksum.
type pointEnvelope struct {
	CRC32C string          `json:"crc32c"`
	Point  json.RawMessage `json:"point"`
}

func (p stagedPoint) store(fsys vfs.FS, dir string) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	b, err := json.Marshal(pointEnvelope{sum(body), body})
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, path.Join(dir, stagingDir, pointName), append(b, '\n'))
}

func loadPoint(fsys vfs.FS, dir string) (p stagedPoint, err error) {
	name := path.Join(dir, stagingDir, pointName)
	b, err := vfs.ReadFile(fsys, name, descriptorMax)
	if err != nil {
		return p, err
	}
	if p, err = decodePoint(b); err != nil {
		return p, &CorruptError{File: name, Reason: err.Error()}
	}
	return p, nil
}

// decodePoint refuses what store would not write.
func decodePoint(b []byte) (p stagedPoint, err error) {
	var e pointEnvelope
	if err := strict(b, &e); err != nil {
		return p, err
	}
	if e.CRC32C != sum(e.Point) {
		return p, errors.New("checksum does not match")
	}
	if err := strict(e.Point, &p); err != nil {
		return p, err
	}
	if p.Format < 2 || p.Format > FormatVersion {
		return p, fmt.Errorf("format version %d", p.Format)
	}
	return p, StagePoint{LSN: p.LSN, Epoch: p.Epoch, Size: p.Size, Lineage: p.Lineage}.validate()
}
