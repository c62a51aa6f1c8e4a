package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

const (
	headerSize = 12
	smallFrame = 4 << 10 // up to here a Reader keeps its memory
	readBuffer = 8 << 10 // a flush of 4 KiB is one read
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Overhead is how many bytes a batch takes on the wire beyond its data, at most.
const Overhead = headerSize + 18 + MaxRecords*recordSize

// limits is how long the payload of a kind may be; 0: there is no such kind.
var limits = [...]int{
	KindHello:      8 << 10 << 3, // with room for what later releases add
	KindWelcome:    8 << 10 << 3,
	KindRefuse:     8 << 10,
	KindFollow:     18 + MaxReigns*reignSize,
	KindAppend:     18 + MaxRecords*recordSize + MaxData,
	KindFlush:      8,
	KindCommit:     8,
	KindAck:        16,
	KindResize:     8,
	KindCompare:    8,
	KindStageBegin: 38 + MaxReigns*reignSize,
	KindStaged:     3 + MaxStaged*stagedSize,
	KindChunk:      12 + MaxData,
	KindStageEnd:   0 + 1, // empty; see decodeMessage
	KindStageAck:   8,
	KindPing:       4,
	KindBye:        2 + MaxText,
}

// Encode appends m's frame to b. The message must be within the limits.
func Encode(b []byte, m Message) []byte {
	start := len(b)
	e := encoder{append(b, make([]byte, headerSize)...)}
	m.encode(&e)
	frame := e.b[start:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-headerSize)) //nolint:gosec // within the limits
	frame[4] = byte(m.Kind())
	binary.LittleEndian.PutUint32(frame[8:], checksum(frame))
	return e.b
}

// checksum covers the header before it, and the payload.
func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:8], castagnoli), castagnoli, frame[headerSize:])
}

// FrameSize is how many bytes Encode makes of a batch.
func FrameSize(records, data int) int { return headerSize + 18 + records*recordSize + data }

// Write writes m's frame in one piece.
func Write(w io.Writer, m Message) error {
	_, err := w.Write(Encode(nil, m))
	return err
}

// large are buffers for frames that are too long to be kept by every reader.
var large = sync.Pool{New: func() any {
	b := make([]byte, headerSize+limits[KindAppend])
	return &b
}}

// Reader reads messages. Its zero value is not usable; see [NewReader].
type Reader struct {
	r      *bufio.Reader
	small  []byte
	big    *[]byte // from the pool, while the caller looks at what is in it
	append Append
	chunk  Chunk
	flush  Flush
	ack    Ack
	commit Commit
	ping   Ping
}

// NewReader returns a reader of what r has.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, readBuffer)}
}

// Ready reports whether a whole frame has arrived already, so that Next does not wait.
// It does not look farther than the reader's own small buffer.
func (r *Reader) Ready() bool {
	if r.r.Buffered() < headerSize {
		return false
	}
	header, err := r.r.Peek(headerSize)
	return err == nil && int64(r.r.Buffered()) >= headerSize+int64(binary.LittleEndian.Uint32(header))
}

// Close gives the reader's memory back. What Next returned must not be used any more.
func (r *Reader) Close() {
	if r.big != nil {
		large.Put(r.big)
		r.big = nil
	}
}

// Next returns the next message: it, and the bytes and records it points at, are valid
// until the following call. At the end of the stream between two frames the error is
// [io.EOF], within one [io.ErrUnexpectedEOF].
func (r *Reader) Next() (Message, error) {
	r.Close()
	frame, err := r.frame()
	if err != nil {
		return nil, err
	}
	m := r.message(Kind(frame[4]))
	return m, decodeMessage(m, frame[headerSize:])
}

// frame reads one, and holds it against its checksum (W1).
func (r *Reader) frame() ([]byte, error) {
	header, err := r.r.Peek(headerSize)
	switch {
	case len(header) > 0 && errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	size, kind := int64(binary.LittleEndian.Uint32(header)), header[4]
	if int(kind) >= len(limits) || limits[kind] == 0 || header[5]|header[6]|header[7] != 0 {
		return nil, fmt.Errorf("read frame: there is no kind %d: the other side is damaged, or no Ballast", kind)
	}
	if size > int64(limits[kind]) { // W2
		return nil, fmt.Errorf("read frame: %d bytes are too long for kind %d", size, kind)
	}
	frame := r.memory(headerSize + int(size))
	if _, err := io.ReadFull(r.r, frame); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if binary.LittleEndian.Uint32(frame[8:]) != checksum(frame) {
		return nil, fmt.Errorf("read frame: kind %d, %d bytes: checksum does not match", kind, size)
	}
	return frame, nil
}

// memory returns room for a frame: a long one is lent by a pool until the next, so that
// an idle reader holds little (W2).
func (r *Reader) memory(n int) []byte {
	if n > smallFrame+readBuffer {
		r.big = large.Get().(*[]byte) //nolint:forcetypeassert // nothing else is in there
		return (*r.big)[:n]
	}
	if n > len(r.small) {
		r.small = make([]byte, n)
	}
	return r.small[:n]
}

// message returns where a message of a kind goes; those that are frequent are used again.
func (r *Reader) message(k Kind) Message {
	switch k {
	case KindAppend:
		return &r.append
	case KindChunk:
		return &r.chunk
	case KindFlush:
		return &r.flush
	case KindAck:
		return &r.ack
	case KindCommit:
		return &r.commit
	case KindPing:
		return &r.ping
	case KindHello:
		return &Hello{}
	case KindWelcome:
		return &Welcome{}
	case KindRefuse:
		return &Refuse{}
	case KindFollow:
		return &Follow{}
	case KindResize:
		return &Resize{}
	case KindCompare:
		return &Compare{}
	case KindStageBegin:
		return &StageBegin{}
	case KindStaged:
		return &Staged{}
	case KindStageEnd:
		return &StageEnd{}
	case KindStageAck:
		return &StageAck{}
	case KindBye:
		return &Bye{}
	}
	return nil // frame has refused it
}
