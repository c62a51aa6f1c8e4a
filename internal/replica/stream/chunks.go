package stream

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

// errCounts says that a copy cannot be filled yet. The leader has asked for it to be
// removed from the in-sync set; the next attempt finds it so.
var errCounts = errors.New("the copy counts as in sync and is not whole: it is removed from the in-sync set before it is filled")

// stage brings the copy to a point of this volume by chunks, and returns where it stands
// then (R6).
func (s *session) stage(ctx context.Context, m replica.Meeting, state replica.State) (replica.State, error) {
	h, p := s.h, s.p
	vain := s.wasInVain()
	h.mu.Lock()
	p.progress = 0
	p.setState(Staging, nil)
	if vain {
		p.vain++
		p.keeps = 0
		p.drag.more(hardDrag)
	}
	h.step(replica.Connected{Node: p.node, Stream: s.attempt, Added: p.at.Added}) // it is there, and lacks chunks
	may := h.leader.MayFill(p.node)
	h.mu.Unlock()
	if !may {
		return replica.State{}, errCounts
	}
	// What it has not folded yet, it loses on the way: chunks come since what its image has.
	snapshot, since, err := s.snapshot(ctx, min(m.Since, state.Applied))
	if err != nil {
		return replica.State{}, err
	}
	defer func() {
		if err := snapshot.Close(); err != nil {
			h.cfg.Log.Warn("snapshot not closed well", "volume", h.log.ID(), "error", err)
		}
	}()
	h.cfg.Log.Info("copy gets chunks", "volume", h.log.ID(), "node", p.node, "lsn", uint64(snapshot.LSN()), "chunks", snapshot.Left(),
		"since_lsn", uint64(since), "full", m.Full, "void", uint64(state.Last-min(since, state.Last)))
	if err := s.sendChunks(ctx, snapshot, since); err != nil {
		return replica.State{}, fmt.Errorf("send volume %s to %s in chunks: %w", h.log.ID(), p.node, err)
	}
	return s.staged(snapshot.LSN())
}

// snapshot takes one for a copy whose history is this one's up to a record. The image may not
// be that far yet, where what it lacks is not committed: then the copy goes back to
// where the image is.
func (s *session) snapshot(ctx context.Context, since ballast.LSN) (Snapshot, ballast.LSN, error) {
	h := s.h
	for {
		apart, err := s.compare(since)
		if err != nil {
			return nil, 0, err
		}
		taken, err := h.log.SnapshotOf(ctx, func(chunk int) ballast.LSN {
			if apart[chunk] {
				return volume.Always // whatever it is here
			}
			return since
		})
		if err != nil {
			return nil, 0, fmt.Errorf("send volume %s to %s in chunks: %w", h.log.ID(), s.p.node, err)
		}
		if taken.LSN() >= since {
			return taken, since, nil
		}
		since = taken.LSN()
		if err := taken.Close(); err != nil {
			return nil, 0, fmt.Errorf("send volume %s to %s in chunks: %w", h.log.ID(), s.p.node, err)
		}
	}
}

// wasInVain reports whether the log behind the filling before this one was too short, whether it came
// to its end or not.
func (s *session) wasInVain() bool {
	s.h.mu.Lock()
	lsn := s.p.keeps
	s.h.mu.Unlock()
	if lsn == 0 {
		return false
	}
	_, err := s.h.log.ReadLog(lsn, 1)
	return errors.Is(err, volume.ErrRecycled)
}

// holds notes from where on the copy will need the log.
func (s *session) holds(lsn ballast.LSN) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.p.keeps = lsn
}

// compare asks which chunks the copy changed by itself since both were one, or lacks.
func (s *session) compare(since ballast.LSN) (map[int]bool, error) {
	if err := s.send(&wire.Compare{Since: since}); err != nil {
		return nil, err
	}
	list, err := s.list()
	apart := map[int]bool{}
	for chunk := range list {
		apart[chunk] = true
	}
	return apart, err
}

// list reads a list of chunks.
func (s *session) list() (map[int]ballast.LSN, error) {
	chunks := map[int]ballast.LSN{}
	for {
		part, err := reply[*wire.Staged](s)
		if err != nil {
			return nil, err
		}
		for _, c := range part.Chunks {
			chunks[int(c.Chunk)] = c.LSN
		}
		if !part.More {
			return chunks, nil
		}
	}
}

// sendChunks sends what the copy lacks of the snapshot.
func (s *session) sendChunks(ctx context.Context, from Snapshot, since ballast.LSN) error {
	h := s.h
	h.log.Keep(s.p.reader(), from.LSN()) // what follows it comes from the log
	s.holds(from.LSN())
	err := s.send(&wire.StageBegin{LSN: from.LSN(), Epoch: h.epoch, Size: from.Size(), Since: since, Chunks: uint32(from.Left()), Lineage: h.lineage})
	if err != nil {
		return err
	}
	have, err := s.list()
	if err != nil {
		return err
	}
	if len(have) > 0 {
		h.cfg.Log.Info("copy has chunks of an attempt that broke off", "volume", h.log.ID(), "node", s.p.node, "chunks", len(have))
	}
	buf, done, all := make([]byte, ballast.ChunkSize), 0, from.Left()
	for {
		chunk, changed, zero, err := from.Next(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.progress(&done, all)
		if lsn, ok := have[chunk]; ok && lsn >= changed && lsn > 0 {
			continue
		}
		data := buf
		if zero {
			data = nil
		}
		if err := s.sendChunk(ctx, chunk, changed, data); err != nil {
			return err
		}
	}
}

func (s *session) sendChunk(ctx context.Context, chunk int, changed ballast.LSN, data []byte) error {
	err := s.send(&wire.Chunk{Chunk: uint32(chunk), LSN: changed, Data: data}) //nolint:gosec // a chunk's number
	if err != nil {
		return err
	}
	select {
	case <-s.ended:
		return errEnded
	default:
	}
	return s.pacer.pause(ctx, len(data), s.foreground())
}

func (s *session) progress(done *int, all int) {
	*done++
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.p.progress = float64(*done) / float64(max(all, 1))
	s.p.busy = s.h.now()
}

// staged ends the chunks. The copy answers when it is at the new point.
func (s *session) staged(lsn ballast.LSN) (replica.State, error) {
	if err := s.send(&wire.StageEnd{}); err != nil {
		return replica.State{}, err
	}
	ack, err := reply[*wire.Ack](s)
	if err != nil {
		return replica.State{}, err
	}
	if ack.Durable != lsn {
		return replica.State{}, fmt.Errorf("%s was brought to record %d, and says that it is at %d", s.p.node, lsn, ack.Durable)
	}
	return replica.State{Lineage: s.h.lineage, Last: lsn, Applied: lsn, Complete: true}, nil
}
