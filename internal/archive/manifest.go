package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// manifestFormat is the version of a volume's tree. A reader refuses a higher one.
const manifestFormat = 1

// maxManifest bounds what is read of a manifest that a stranger wrote.
const maxManifest = 1 << 20

// manifest says in a base snapshot what its image is the image of. It is a file
// that people read when they have nothing but restic.
type manifest struct {
	Format int                `json:"format"`
	Volume ballast.VolumeID   `json:"volume"`
	Name   string             `json:"name"`
	Spec   ballast.VolumeSpec `json:"spec"`
	LSN    ballast.LSN        `json:"lsn"`
	Epoch  ballast.Epoch      `json:"epoch"`
	Size   int64              `json:"size"`
	Time   time.Time          `json:"time"`
	Node   string             `json:"node"`
}

func (m *manifest) point() tail.Point {
	return tail.Point{Time: m.Time, LSN: m.LSN, Epoch: m.Epoch, Size: m.Size}
}

func (m *manifest) encode() ([]byte, error) {
	out, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest of volume %s: %w", m.Volume, err)
	}
	return append(out, '\n'), nil
}

// decodeManifest reads a manifest and checks that the rest of the package can
// stand on it.
func decodeManifest(data []byte) (*manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("decode manifest: %d bytes are too many: %w", len(data), ballast.ErrInvalid)
	}
	m := &manifest{}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("decode manifest: format %d is not known to this version of Ballast, which reads %d: %w", m.Format, manifestFormat, ballast.ErrInvalid)
	}
	return m, checkSize(m.Size)
}

func checkSize(size int64) error {
	if size <= 0 || size > ballast.MaxVolumeSize || size%ballast.ChunkSize != 0 {
		return fmt.Errorf("a volume of %d bytes: %w", size, ballast.ErrInvalid)
	}
	return nil
}

// manifest returns what a base's manifest says.
func (b *Base) manifest(spec ballast.VolumeSpec) *manifest {
	return &manifest{
		Format: manifestFormat, Volume: b.Volume, Name: b.Name, Spec: spec, Node: b.Node,
		LSN: b.Point.LSN, Epoch: b.Point.Epoch, Size: b.Point.Size, Time: b.Point.Time,
	}
}
