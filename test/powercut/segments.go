package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
)

// shrinkSegments gives a new volume smaller segments than any user's, by writing
// its descriptor anew as docs/format/volume.md has it.
func shrinkSegments(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var e struct {
		CRC32C string          `json:"crc32c"`
		Volume json.RawMessage `json:"volume"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(e.Volume, &fields); err != nil {
		return err
	}
	fields["segment"] = fmt.Appendf(nil, "%d", segmentSize)
	if e.Volume, err = json.Marshal(fields); err != nil {
		return err
	}
	e.CRC32C = fmt.Sprintf("%08x", crc32.Checksum(e.Volume, crc32.MakeTable(crc32.Castagnoli)))
	if text, err = json.Marshal(e); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
