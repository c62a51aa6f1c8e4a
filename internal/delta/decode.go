package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/ballast-io/ballast"
)

// Decode reads one delta and what Encode wrote, and no byte further. What it
// returns is valid, its times are in UTC; damage, and what is more than a delta has, is
// an error. It takes no more memory than the bytes that arrive.
func Decode(r io.Reader) (*Delta, error) {
	d, groups, err := decodeHead(r)
	if err != nil {
		return nil, fmt.Errorf("decode delta: %w", err)
	}
	left := room{runs: MaxRuns, data: MaxData}
	for i := range groups {
		g, err := decodeGroup(r, &left)
		if err != nil {
			return nil, fmt.Errorf("decode delta: group %d of %d: %w", i, groups, err)
		}
		d.Groups = append(d.Groups, g)
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("decode delta: %w", err)
	}
	return d, nil
}

// room is what a delta may still have.
type room struct{ runs, data uint32 }

func decodeHead(r io.Reader) (d *Delta, groups uint32, err error) {
	b, err := readChecked(r, headSize)
	if err != nil {
		return nil, 0, err
	}
	if m, v := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]); m != magic || v != version {
		return nil, 0, invalid("magic %08x version %d; want %08x and %d", m, v, magic, version)
	}
	groups, id := binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])
	if groups > MaxGroups || id > maxVolumeID {
		return nil, 0, invalid("%d groups and an id of %d bytes; a delta has up to %d and %d", groups, id, MaxGroups, maxVolumeID)
	}
	return &Delta{
		Volume: ballast.VolumeID(b[32 : 32+id]),
		Epoch:  ballast.Epoch(binary.LittleEndian.Uint64(b[8:])),
		After:  ballast.LSN(binary.LittleEndian.Uint64(b[16:])),
	}, groups, nil
}

func decodeGroup(r io.Reader, left *room) (g Group, err error) {
	b, err := readChecked(r, groupSize)
	if err != nil {
		return g, err
	}
	g.Last = ballast.LSN(binary.LittleEndian.Uint64(b))
	g.Size = int64(binary.LittleEndian.Uint64(b[16:]))
	if ns := int64(binary.LittleEndian.Uint64(b[8:])); ns != 0 {
		g.Time = time.Unix(0, ns).UTC()
	}
	runs, data := binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])
	if runs > left.runs || data > left.data {
		return g, invalid("%d runs with %d bytes; a delta has up to %d with %d", runs, data, MaxRuns, MaxData)
	}
	left.runs, left.data = left.runs-runs, left.data-data
	return g, g.decodeBody(r, int(runs), int(data))
}

// decodeBody reads the runs and the data.
func (g *Group) decodeBody(r io.Reader, runs, data int) error {
	b, err := readChecked(r, runs*runSize+data)
	if err != nil {
		return err
	}
	for ; runs > 0; runs-- {
		count := binary.LittleEndian.Uint64(b[8:])
		g.Runs = append(g.Runs, Run{
			First: ballast.Block(binary.LittleEndian.Uint64(b)),
			Count: count &^ zeroRun,
			Zero:  count&zeroRun != 0,
		})
		b = b[runSize:]
	}
	if data > 0 {
		g.Data = b
	}
	return nil
}

// readChecked reads n bytes and the CRC behind them.
func readChecked(r io.Reader, n int) ([]byte, error) {
	b, err := readFull(r, n+crcSize)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, invalid("its checksum does not match: it was damaged on its way")
	}
	return b[:n:n], nil
}

// readFull reads n bytes, and makes room for what arrives, not for what is announced.
func readFull(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	b := make([]byte, min(n, step))
	for read := 0; ; {
		k, err := io.ReadFull(r, b[read:])
		if read += k; err != nil {
			if errors.Is(err, io.EOF) { // between two pieces
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("after %d of %d bytes: %w", read, n, err)
		}
		if read == n {
			return b, nil
		}
		more := make([]byte, min(n, 2*read))
		copy(more, b)
		b = more
	}
}
