package tail

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

const (
	magic     = "BLSTTAIL"
	frontSize = len(magic) + 4 // and the length of the sealed header

	maxHeader  = 4 << 20 // bytes, sealed
	maxPlain   = 8 << 20 // bytes of each part of a header, unpacked
	frameBytes = FrameBlocks * ballast.BlockSize
	maxFrame   = frameBytes + 4096 // bytes, sealed
)

// Link is where a delta is attached: behind which object of which epoch.
type Link struct {
	Reign
	Prev   Digest      // of the newest header of the epoch; of the open, if there is none
	Behind ballast.LSN // the last record of that; where the epoch continues, if there is none
}

// Object is an encoded delta.
type Object struct {
	Name   string
	Data   []byte
	Header *Header
}

// Encode returns d as an object that stands behind link. The object is of link's epoch.
func Encode(d *delta.Delta, link Link, sealer Sealer) (*Object, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("encode tail of %s: %w", d.Volume, err)
	}
	if err := link.check(); err != nil {
		return nil, fmt.Errorf("encode tail of %s: %w", d.Volume, err)
	}
	if link.Volume != d.Volume || link.Epoch != d.Epoch {
		return nil, fmt.Errorf("encode tail of %s: %w", d.Volume, invalid("epoch %d of %s cannot stand in epoch %d of %s", d.Epoch, d.Volume, link.Epoch, link.Volume))
	}
	if link.Behind > d.After {
		return nil, fmt.Errorf("encode tail of %s: %w", d.Volume, invalid("LSN %d is in the archive; it begins behind %d", link.Behind, d.After))
	}
	h := &Header{Reign: link.Reign, Prev: link.Prev, Behind: link.Behind, First: d.After + 1, Last: d.Last(), runs: packRuns(d.Groups)}
	for _, g := range d.Groups {
		h.blocks += g.DataBlocks()
		h.Groups = append(h.Groups, Group{g.Last, g.Time, g.Size})
	}
	frames := h.encodeFrames(d, sealer)
	front := h.encodeFront(sealer)
	name := Name{SegmentKind, h.Volume, h.Epoch, h.First, h.Last}
	return &Object{name.String(), slices.Concat(front, frames), h}, nil
}

// encodeFrames cuts the data of d into frames and returns these. Their offsets are not known yet.
func (h *Header) encodeFrames(d *delta.Delta, sealer Sealer) (frames []byte) {
	frame := make([]byte, 0, min(frameBytes, d.DataBytes()))
	add := func() {
		body, plain := pack(frame)
		sealed := sealer.Seal(body)
		h.Frames = append(h.Frames, Frame{Length: int64(len(sealed)), Plain: plain, Sum: sha256.Sum256(sealed)})
		frames = append(frames, sealed...)
		frame = frame[:0]
	}
	for i := range d.Groups {
		for data := d.Groups[i].Data; len(data) > 0; {
			n := min(len(data), frameBytes-len(frame))
			frame, data = append(frame, data[:n]...), data[n:]
			if len(frame) == frameBytes {
				add()
			}
		}
	}
	if len(frame) > 0 {
		add()
	}
	return frames
}

// encodeFront returns what stands before the frames, and sets what is only known then.
func (h *Header) encodeFront(sealer Sealer) []byte {
	sealed := sealer.Seal(h.encode())
	h.digest = sha256.Sum256(sealed)
	front := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(front[len(magic):], uint32(len(sealed)))
	h.place(int64(frontSize + len(sealed)))
	return append(front, sealed...)
}

// place sets the offsets of the frames, the first of which is at off.
func (h *Header) place(off int64) {
	for i := range h.Frames {
		h.Frames[i].Offset = off
		off += h.Frames[i].Length
	}
	h.size = off
}

// FrontSize returns how many bytes an object has before its frames, from its first bytes; 12 are
// enough.
func FrontSize(front []byte) (int64, error) {
	if len(front) < frontSize || string(front[:len(magic)]) != magic {
		return 0, errors.New("it is no object of a log")
	}
	n := binary.LittleEndian.Uint32(front[len(magic):])
	if n > maxHeader {
		return 0, fmt.Errorf("its header has %d bytes, more than one has", n)
	}
	return int64(frontSize) + int64(n), nil
}

// DecodeHeader reads the header of an object from its first [FrontSize] bytes, or more.
func DecodeHeader(front []byte, sealer Sealer) (*Header, error) {
	n, err := FrontSize(front)
	if err == nil && int64(len(front)) < n {
		err = fmt.Errorf("it ends within its header, after %d of %d bytes", len(front), n)
	}
	if err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	sealed := front[frontSize:n]
	plain, err := sealer.Unseal(sealed)
	if err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	h, err := decodeHeader(plain)
	if err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	h.digest = sha256.Sum256(sealed)
	h.place(n)
	return h, nil
}

// check holds what is decoded to what Encode writes.
func (h *Header) check() error {
	if err := h.Reign.check(); err != nil {
		return err
	}
	switch {
	case h.Prev.IsZero() || h.First == 0 || h.First <= h.Behind || h.Behind < h.Parent.LSN || len(h.Groups) == 0:
		return invalid("it stands nowhere")
	case uint64(len(h.Frames)) != (h.blocks+FrameBlocks-1)/FrameBlocks:
		return invalid("%d frames for %d blocks", len(h.Frames), h.blocks)
	}
	last := h.First - 1
	for _, g := range h.Groups {
		if g.Last <= last {
			return invalid("a group ends at LSN %d, behind which it should begin", last)
		}
		last = g.Last
	}
	if last != h.Last {
		return invalid("its groups end at LSN %d, not at %d", last, h.Last)
	}
	return nil
}

// Runs returns the runs of every group, in the order of groups.
func (h *Header) Runs() ([][]delta.Run, error) {
	runs, _, err := unpackRuns(h.runs, h.Groups)
	if err != nil {
		return nil, fmt.Errorf("read runs of LSN %d to %d: %w", h.First, h.Last, err)
	}
	return runs, nil
}

// DecodeFrame returns the data of frame i, whose bytes in the object are sealed, after it
// verified them.
func (h *Header) DecodeFrame(i int, sealed []byte, sealer Sealer) ([]byte, error) {
	f := h.Frames[i]
	if int64(len(sealed)) != f.Length || sha256.Sum256(sealed) != f.Sum {
		return nil, fmt.Errorf("decode frame %d: it is not what was shipped", i)
	}
	body, err := sealer.Unseal(sealed)
	if err != nil {
		return nil, fmt.Errorf("decode frame %d: %w", i, err)
	}
	plain := body
	if !f.Plain {
		if plain, err = unpack(body, frameBytes); err != nil {
			return nil, fmt.Errorf("decode frame %d: %w", i, err)
		}
	}
	if want := h.frameSize(i); len(plain) != want {
		return nil, fmt.Errorf("decode frame %d: it has %d bytes; want %d", i, len(plain), want)
	}
	return plain, nil
}

// frameSize is how many bytes of data frame i has.
func (h *Header) frameSize(i int) int {
	return int(min(h.blocks-uint64(i)*FrameBlocks, FrameBlocks)) * ballast.BlockSize
}
