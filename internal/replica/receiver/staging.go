package receiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const stageAckEvery = 16 // chunks

// compare answers with the chunks that the copy changed by itself, or lacks.
func (s *session) compare(ctx context.Context, since ballast.LSN) error {
	var changed []int
	err := s.use(ctx, func(c Copy) error {
		changed = c.Changed(since)
		return nil
	})
	if err != nil {
		return err
	}
	list := make([]wire.StagedChunk, len(changed))
	for i, chunk := range changed {
		list[i] = wire.StagedChunk{Chunk: uint32(chunk)} //nolint:gosec // a chunk's number
	}
	return s.sendStaged(list)
}

// sendStaged sends a list of chunks in parts.
func (s *session) sendStaged(list []wire.StagedChunk) error {
	for len(list) > wire.MaxStaged {
		if err := s.send(&wire.Staged{More: true, Chunks: list[:wire.MaxStaged]}); err != nil {
			return err
		}
		list = list[wire.MaxStaged:]
	}
	return s.send(&wire.Staged{Chunks: list})
}

// stage begins to bring the copy to a point, or goes on with what an earlier attempt left.
func (s *session) stage(ctx context.Context, m *wire.StageBegin) error {
	if m.Epoch != s.hello.Epoch || s.staging != nil {
		return refuse(wire.CodeProtocol, "chunks of %v were announced in a stream of %v that has begun others: %t", m.Epoch, s.hello.Epoch, s.staging != nil)
	}
	s.following = false
	err := s.useAlone(ctx, func(c Copy) error {
		staging, err := c.Stage(volume.StagePoint{LSN: m.LSN, Epoch: m.Epoch, Size: m.Size, Lineage: m.Lineage, Since: m.Since})
		if err != nil {
			return fmt.Errorf("begin to take chunks: %w", err)
		}
		staging.Expect(int(m.Chunks))
		s.staging, s.puts = staging, 0
		s.e.pins.Add(1) // it must not be closed as long as there is the staging
		return nil
	})
	if err != nil {
		return err
	}
	var list []wire.StagedChunk
	for chunk, lsn := range s.staging.Staged() {
		list = append(list, wire.StagedChunk{Chunk: uint32(chunk), LSN: lsn}) //nolint:gosec // a chunk's number
	}
	return s.sendStaged(list)
}

func (s *session) put(m *wire.Chunk) error {
	if s.staging == nil {
		return refuse(wire.CodeProtocol, "chunk %d came unannounced", m.Chunk)
	}
	if err := s.staging.Put(int(m.Chunk), m.LSN, m.Data); err != nil {
		return fmt.Errorf("take chunk %d: %w", m.Chunk, err)
	}
	s.puts++
	if s.puts%stageAckEvery != 0 {
		return nil
	}
	return s.send(&wire.StageAck{Chunks: s.puts})
}

// finish brings the copy to the point (R6). That may take as long as to write all chunks
// once more; the pulse goes on meanwhile.
func (s *session) finish(ctx context.Context) error {
	if s.staging == nil {
		return refuse(wire.CodeProtocol, "the end of chunks that were not announced")
	}
	err := s.useAlone(ctx, func(Copy) error { return s.staging.Finish() })
	s.stopStaging()
	if err != nil {
		return fmt.Errorf("bring the copy to its new point: %w", err)
	}
	err = s.use(ctx, func(c Copy) error {
		state := c.State()
		s.received, s.durable = state.Last, state.Durable
		s.e.note(state)
		return state.Err
	})
	return errors.Join(err, s.ack())
}

// stopStaging breaks it off, if it is under way: what has come is kept for the next.
func (s *session) stopStaging() {
	if s.staging == nil {
		return
	}
	if err := s.staging.Close(); err != nil {
		s.r.cfg.Log.Warn("staging not closed well", "volume", s.e.id, "error", err)
	}
	s.staging = nil
	s.e.pins.Add(-1)
}
