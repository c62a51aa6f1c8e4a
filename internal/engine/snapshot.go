package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/volume"
)

// A snapshot travels as a line of JSON, which is a snapshotHead, and frames:
//
//	frame   number u32 | kind u8 | payload
//	zero    number is a chunk, all zeros; no payload
//	data    number is a chunk; its bytes
//	end     number is how many chunks there were; the stream ends behind it
//	failed  number is the length of the payload, which says why it goes no further
//
// Numbers are little-endian. A stream without its end is an error, never a short snapshot.
const (
	frameSize = 5

	frameZero   = 0
	frameData   = 1
	frameEnd    = 2
	frameFailed = 3
)

// maxHead bounds the first line, in bytes.
const maxHead = 4096

type snapshotHead struct {
	Volume ballast.VolumeID `json:"volume"`
	LSN    ballast.LSN      `json:"lsn"`
	Epoch  ballast.Epoch    `json:"epoch"`
	Size   int64            `json:"size"`
	Time   time.Time        `json:"time"`
	Since  ballast.LSN      `json:"since"`
}

// serveSnapshot answers GET /snapshot?since= with the chunks that changed behind since.
func (e *engine) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	since, err := number(r, "since")
	if err != nil {
		answer(w, nil, fmt.Errorf("read request %s: %w", r.URL.RawQuery, ballast.ErrInvalid))
		return
	}
	s, err := e.volume.Snapshot(r.Context(), ballast.LSN(since))
	if err != nil {
		answer(w, nil, err)
		return
	}
	defer s.Close() // what it saved is removed at the next snapshot, if not now
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := sendSnapshot(w, s, e.volume.ID(), ballast.LSN(since)); err != nil && r.Context().Err() == nil {
		e.log.Warn("snapshot was not read to its end", "error", err)
	}
}

// sendSnapshot writes s to w. A snapshot that fails is told the reader too.
func sendSnapshot(w io.Writer, s *volume.Snapshot, id ballast.VolumeID, since ballast.LSN) error {
	info := s.Info()
	if err := json.NewEncoder(w).Encode(snapshotHead{id, info.LSN, info.Epoch, info.Size, info.Time, since}); err != nil {
		return err
	}
	frame := make([]byte, frameSize+ballast.ChunkSize)
	for n := 0; ; n++ {
		chunk, zero, err := s.Next(frame[frameSize:])
		var used int
		switch {
		case errors.Is(err, io.EOF):
			_, err := w.Write(frameHead(frame, n, frameEnd))
			return err
		case err != nil:
			reason := err.Error()[:min(len(err.Error()), maxReason)]
			_, told := w.Write(append(frameHead(frame, len(reason), frameFailed), reason...))
			return errors.Join(err, told)
		case zero:
			used = len(frameHead(frame, chunk, frameZero))
		default:
			used = len(frameHead(frame, chunk, frameData)) + ballast.ChunkSize
		}
		if _, err := w.Write(frame[:used]); err != nil {
			return err
		}
	}
}

// frameHead writes the beginning of a frame, and returns it.
func frameHead(frame []byte, number int, kind byte) []byte {
	binary.LittleEndian.PutUint32(frame, uint32(number))
	frame[4] = kind
	return frame[:frameSize]
}

// SnapshotStream is a volume at one LSN, as its engine hands it out: an [archive.BaseSource].
// It is for one goroutine; it must be closed.
type SnapshotStream struct {
	dir    string
	info   archive.SnapshotInfo
	body   io.ReadCloser
	r      *bufio.Reader
	cancel context.CancelFunc
	chunk  []byte
	before int // the chunk that came last; -1: none
	count  int
	err    error // why nothing more comes; io.EOF: it is whole
}

// Snapshot begins to read the volume as it is now: the chunks that changed after the
// record since. Writers go on. The snapshot ends when ctx does, or is closed. It
// wraps [ballast.ErrInUse] when another one is being read, and [ballast.ErrNotReady]
// while chunks are still to be fetched.
func (c *Client) Snapshot(ctx context.Context, since ballast.LSN) (_ *SnapshotStream, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			err = fmt.Errorf("take a snapshot from engine in %s: %w", c.dir, err)
		}
	}()
	resp, err := c.do(ctx, http.MethodGet, fmt.Sprintf("/snapshot?since=%d", since), nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(rejected(resp), resp.Body.Close())
	}
	s, err := readSnapshot(resp.Body)
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	s.dir, s.cancel = c.dir, cancel
	return s, nil
}

// readSnapshot reads the first line.
func readSnapshot(body io.ReadCloser) (*SnapshotStream, error) {
	s := &SnapshotStream{body: body, r: bufio.NewReaderSize(body, maxHead), chunk: make([]byte, ballast.ChunkSize), before: -1}
	line, err := s.r.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("read what it is of: %w", noEnd(err))
	}
	var h snapshotHead
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, fmt.Errorf("read what it is of: %w", err)
	}
	if h.Size <= 0 || h.Size%ballast.ChunkSize != 0 {
		return nil, fmt.Errorf("it is of a volume of %d bytes", h.Size)
	}
	s.info = archive.SnapshotInfo{Volume: h.Volume, LSN: h.LSN, Epoch: h.Epoch, Size: h.Size, Time: h.Time, Since: h.Since}
	return s, nil
}

// Info says what the snapshot is of.
func (s *SnapshotStream) Info() archive.SnapshotInfo { return s.info }

// Next returns the next chunk that changed, in ascending order, and its bytes, which
// stay valid until the call after; nil: it is all zeros. The last is followed by [io.EOF].
// Any other error, that of ctx included, ends the snapshot.
func (s *SnapshotStream) Next(ctx context.Context) (chunk int, data []byte, err error) {
	if s.err == nil {
		stop := context.AfterFunc(ctx, s.cancel)
		chunk, data, s.err = s.next()
		if stop(); ctx.Err() != nil {
			s.err = ctx.Err()
		}
	}
	if s.err != nil && !errors.Is(s.err, io.EOF) {
		return 0, nil, fmt.Errorf("read snapshot from engine in %s: %w", s.dir, s.err)
	}
	return chunk, data, s.err
}

func (s *SnapshotStream) next() (chunk int, data []byte, err error) {
	var head [frameSize]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, nil, noEnd(err)
	}
	number := binary.LittleEndian.Uint32(head[:])
	switch kind := head[4]; kind {
	case frameEnd:
		return 0, nil, s.finish(number)
	case frameFailed:
		return 0, nil, s.failure(number)
	case frameZero, frameData:
		return s.readChunk(int64(number), kind)
	default:
		return 0, nil, fmt.Errorf("it sent a frame of kind %d", kind)
	}
}

// finish reports whether the snapshot came whole.
func (s *SnapshotStream) finish(count uint32) error {
	if int64(count) != int64(s.count) {
		return fmt.Errorf("%d chunks came of %d", s.count, count)
	}
	return io.EOF
}

func (s *SnapshotStream) failure(length uint32) error {
	reason, err := io.ReadAll(io.LimitReader(s.r, int64(min(length, maxReason))))
	if err != nil {
		return noEnd(err)
	}
	return remote{text: string(reason)}
}

func (s *SnapshotStream) readChunk(chunk int64, kind byte) (int, []byte, error) {
	if chunk <= int64(s.before) || chunk >= s.info.Size/ballast.ChunkSize {
		return 0, nil, fmt.Errorf("chunk %d came after %d, of %d", chunk, s.before, s.info.Size/ballast.ChunkSize)
	}
	s.before = int(chunk)
	s.count++
	if kind == frameZero {
		return s.before, nil, nil
	}
	if _, err := io.ReadFull(s.r, s.chunk); err != nil {
		return 0, nil, noEnd(err)
	}
	return s.before, s.chunk, nil
}

// noEnd says of an end that it came too early.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close ends the reading. It is safe to call more than once.
func (s *SnapshotStream) Close() error {
	s.cancel()
	return s.body.Close()
}
