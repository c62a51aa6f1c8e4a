package volume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/ballast-io/ballast/internal/vfs"
)

// loadIndex reads the index up to its end, or to where it is torn.
func (s *staged) loadIndex(fsys vfs.FS, name string) error {
	limit := int64(stagedEntry) * (4*int64(len(s.table)) + settleStaged)
	b, err := vfs.ReadFile(fsys, name, limit)
	if err != nil {
		return err
	}
	for ; len(b) >= stagedEntry; b = b[stagedEntry:] {
		chunk, entry, ok := s.decode(b[:stagedEntry])
		if !ok {
			break
		}
		s.table[chunk] = entry
		s.end += stagedEntry
	}
	return nil
}

func (s *staged) decode(b []byte) (chunk int, entry uint64, ok bool) {
	at := binary.LittleEndian.Uint64(b[8:])
	ok = binary.LittleEndian.Uint32(b) == stagedSum(s.point.Salt, b) && at < uint64(len(s.table))
	return int(at), binary.LittleEndian.Uint64(b[16:]), ok //nolint:gosec // used only when it is in the table
}

func stagedSum(salt uint64, entry []byte) uint32 {
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], salt)
	return crc32.Update(crc32.Checksum(key[:], castagnoli), castagnoli, entry[8:stagedEntry])
}

// entries encodes what the table has of some chunks.
func (s *staged) entries(chunks func(yield func(int))) (b []byte) {
	chunks(func(chunk int) {
		var e [stagedEntry]byte
		binary.LittleEndian.PutUint64(e[8:], uint64(chunk))
		binary.LittleEndian.PutUint64(e[16:], s.table[chunk])
		binary.LittleEndian.PutUint32(e[:], stagedSum(s.point.Salt, e[:]))
		b = append(b, e[:]...)
	})
	return b
}

// note makes the index say what the table has of chunks.
func (s *staged) note(chunks []int) error {
	b := s.entries(func(yield func(int)) {
		for _, chunk := range chunks {
			yield(chunk)
		}
	})
	if _, err := s.index.WriteAt(b, s.end); err != nil {
		return fmt.Errorf("write index of staged chunks: %w", err)
	}
	if err := s.index.Sync(); err != nil {
		return fmt.Errorf("sync index of staged chunks: %w", err)
	}
	s.end += int64(len(b))
	return nil
}
