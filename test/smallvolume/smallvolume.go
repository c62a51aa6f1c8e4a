// Package smallvolume makes volumes whose log has smaller segments than any
// user's, so that everything that happens to a log happens often. It knows the format as
// docs/format/volume.md has it, and not the code.
package smallvolume

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"path"

	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// descriptorMax is longer than the descriptor of a new volume, in bytes.
const descriptorMax = 64 << 10

// Create makes a volume in dir with segments of segment bytes: a multiple of
// 4096, at least 32768.
func Create(fsys vfs.FS, dir string, id volume.Identity, segment int64) error {
	if err := volume.Create(fsys, dir, id); err != nil {
		return err
	}
	name := path.Join(dir, "volume.json")
	text, err := vfs.ReadFile(fsys, name, descriptorMax)
	if err == nil {
		text, err = shrink(text, segment)
	}
	if err == nil {
		err = vfs.ReplaceFile(fsys, name, text)
	}
	if err != nil {
		return fmt.Errorf("make segments of %s small: %w", dir, err)
	}
	return nil
}

// shrink returns a new volume's descriptor with another segment size.
func shrink(text []byte, segment int64) ([]byte, error) {
	var e struct {
		CRC32C string          `json:"crc32c"`
		Volume json.RawMessage `json:"volume"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(e.Volume, &fields); err != nil {
		return nil, err
	}
	fields["segment"] = fmt.Appendf(nil, "%d", segment)
	var err error
	if e.Volume, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	e.CRC32C = fmt.Sprintf("%08x", crc32.Checksum(e.Volume, crc32.MakeTable(crc32.Castagnoli)))
	text, err = json.Marshal(e)
	return append(text, '\n'), err
}
