package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	chunksName = "chunks"

	pageMagic     = 0x4c424354 // "TCBL" as bytes
	pageHeader    = 16
	chunksPerPage = (blockSize - pageHeader) / 8
	presentBit    = 1 << 63
)

// chunks is the table of a volume's chunks: for each the LSN that the image had
// reached when it was last changed, and whether its bytes are here at all. On
// disk every page of the table has two places that are written in turn, so that
// one of them is whole whenever the power fails. Guarded by [Volume.applying].
type chunks struct {
	file  vfs.File
	table []uint64 // LSN, and presentBit
	turn  []uint32 // per page: how often it was written
	dirty map[int]bool
}

func pagesOf(size int64) int {
	n := int(size / ballast.ChunkSize)
	return (n + chunksPerPage - 1) / chunksPerPage
}

// createChunks makes the table of a volume that is all here and all zeros, or
// what fill makes of that.
func createChunks(fsys vfs.FS, dir string, size int64, fill func(*chunks)) error {
	f, err := createEmpty(fsys, path.Join(dir, chunksName))
	if err != nil {
		return err
	}
	c := &chunks{file: f, dirty: map[int]bool{}}
	c.grow(size)
	fill(c)
	return errors.Join(c.store(), f.Close())
}

func openChunks(fsys vfs.FS, dir string, size int64) (*chunks, error) {
	name := path.Join(dir, chunksName)
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	c := &chunks{file: f, dirty: map[int]bool{}}
	if err := c.load(name, size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// grow adds chunks up to size, all of them present and never changed.
func (c *chunks) grow(size int64) {
	for len(c.table) < int(size/ballast.ChunkSize) {
		c.dirty[len(c.table)/chunksPerPage] = true
		c.table = append(c.table, presentBit)
	}
	for len(c.turn) < pagesOf(size) {
		c.turn = append(c.turn, c.turnOnDisk(len(c.turn)))
	}
}

// turnOnDisk is the turn of a page that may have been the volume's before it became
// smaller: the next one must count for more.
func (c *chunks) turnOnDisk(page int) (turn uint32) {
	block := make([]byte, blockSize)
	for place := range int64(2) {
		if _, err := c.file.ReadAt(block, (2*int64(page)+place)*blockSize); err != nil {
			continue // there is no such page
		}
		if t, ok := decodePage(block, page); ok {
			turn = max(turn, t)
		}
	}
	return turn
}

// begun returns the highest LSN that chunks were about to change at when the image was
// the volume at applied; 0 if there is none above it.
func (c *chunks) begun(applied ballast.LSN) (lsn ballast.LSN) {
	for _, entry := range c.table {
		lsn = max(lsn, ballast.LSN(entry&^presentBit))
	}
	if lsn <= max(applied, 1) { // a volume that was made from an archive may have changed chunks at LSN 0
		return 0
	}
	return lsn
}

// changed notes that a chunk's bytes change in a round of apply up to lsn.
func (c *chunks) changed(chunk int, lsn ballast.LSN) {
	c.table[chunk] = c.table[chunk]&presentBit | uint64(lsn)
	c.dirty[chunk/chunksPerPage] = true
}

// store makes the changed pages durable.
func (c *chunks) store() error {
	if len(c.dirty) == 0 {
		return nil
	}
	for page := range c.dirty {
		if err := c.writePage(page); err != nil {
			return fmt.Errorf("write chunk table: %w", err)
		}
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("sync chunk table: %w", err)
	}
	for page := range c.dirty {
		c.turn[page]++
	}
	clear(c.dirty)
	return nil
}

// writePage writes the place of a page that its last good version is not in.
func (c *chunks) writePage(page int) error {
	block := make([]byte, blockSize)
	turn := c.turn[page] + 1
	binary.LittleEndian.PutUint32(block, pageMagic)
	binary.LittleEndian.PutUint32(block[8:], turn)
	binary.LittleEndian.PutUint32(block[12:], uint32(page))
	for i, entry := range c.pageEntries(page) {
		binary.LittleEndian.PutUint64(block[pageHeader+8*i:], entry)
	}
	binary.LittleEndian.PutUint32(block[4:], crc32.Checksum(block[8:], castagnoli))
	_, err := c.file.WriteAt(block, placeOf(page, turn))
	return err
}

func placeOf(page int, turn uint32) int64 { return (int64(page)*2 + int64(turn%2)) * blockSize }

func (c *chunks) pageEntries(page int) []uint64 {
	from := page * chunksPerPage
	return c.table[from:min(from+chunksPerPage, len(c.table))]
}

func (c *chunks) load(name string, size int64) error {
	c.table, c.turn = make([]uint64, size/ballast.ChunkSize), make([]uint32, pagesOf(size))
	for page := range c.turn {
		if err := c.loadPage(page); err != nil {
			return &CorruptError{File: name, Offset: placeOf(page, 0), Reason: err.Error()}
		}
	}
	return nil
}

func (c *chunks) loadPage(page int) error {
	blocks := make([]byte, 2*blockSize)
	if n, err := c.file.ReadAt(blocks, placeOf(page, 0)); n == 0 {
		return fmt.Errorf("no version of page %d: %w", page, err)
	}
	var newest []byte
	for _, block := range [][]byte{blocks[:blockSize], blocks[blockSize:]} {
		if turn, ok := decodePage(block, page); ok && turn > c.turn[page] {
			newest, c.turn[page] = block, turn
		}
	}
	if newest == nil {
		return fmt.Errorf("no version of page %d is whole", page)
	}
	for i := range c.pageEntries(page) {
		c.pageEntries(page)[i] = binary.LittleEndian.Uint64(newest[pageHeader+8*i:])
	}
	return nil
}

func decodePage(block []byte, page int) (turn uint32, ok bool) {
	if binary.LittleEndian.Uint32(block) != pageMagic ||
		binary.LittleEndian.Uint32(block[4:]) != crc32.Checksum(block[8:], castagnoli) ||
		binary.LittleEndian.Uint32(block[12:]) != uint32(page) {
		return 0, false
	}
	return binary.LittleEndian.Uint32(block[8:]), true
}
