package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const maxSilence = time.Minute // that a leader may announce

// handle does what a message says.
func (s *session) handle(ctx context.Context, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Append:
		return s.append(ctx, m.Batch)
	case *wire.Flush:
		if !s.following || m.LSN > s.received {
			return refuse(wire.CodeProtocol, "a flush of record %d, but the stream has come to %d", m.LSN, s.received)
		}
		s.flush = true
		return nil
	case *wire.Commit:
		return s.commit(ctx, m.LSN)
	case *wire.Ping:
		s.silent = s.r.cfg.Patience + min(time.Duration(m.NextMillis)*time.Millisecond, maxSilence)
		s.heard = 0
		return nil
	case *wire.Follow:
		return s.follow(ctx, m)
	case *wire.Resize:
		return s.grow(ctx, m.Size)
	case *wire.Compare:
		return s.compare(ctx, m.Since)
	case *wire.StageBegin:
		return s.stage(ctx, m)
	case *wire.Chunk:
		return s.put(m)
	case *wire.StageEnd:
		return s.finish(ctx)
	case *wire.Bye:
		return io.EOF
	case *wire.Refuse:
		return fmt.Errorf("the leader refuses to go on: %w", m)
	case *wire.Hello, *wire.Welcome, *wire.Ack, *wire.Staged, *wire.StageAck:
	}
	return refuse(wire.CodeProtocol, "kind %d is not for a follower at this point", m.Kind())
}

// use calls f with the copy. One that was closed meanwhile, because nothing happened, and
// opened again must stand where it stood.
func (s *session) use(ctx context.Context, f func(Copy) error) error {
	return s.e.use(ctx, 0, s.same(f))
}

// useAlone is use, while nothing goes on in the background.
func (s *session) useAlone(ctx context.Context, f func(Copy) error) error {
	return s.e.useAlone(ctx, 0, s.same(f))
}

// same is f for a copy that stands where the stream has it.
func (s *session) same(f func(Copy) error) func(Copy) error {
	return func(c Copy) error {
		if s.opened != s.e.opened {
			if st := c.State(); st.Last != s.received || st.Err != nil {
				return fmt.Errorf("the copy was closed at record %d and opened at %d: %w", s.received, st.Last, errors.Join(ballast.ErrInUse, st.Err))
			}
			s.opened = s.e.opened
		}
		return f(c)
	}
}

// follow is answered when it is durable (R4).
func (s *session) follow(ctx context.Context, m *wire.Follow) error {
	if m.Epoch != s.hello.Epoch {
		return refuse(wire.CodeProtocol, "%v was greeted, and %v is to be followed", s.hello.Epoch, m.Epoch)
	}
	err := s.useAlone(ctx, func(c Copy) error {
		if err := c.Follow(m.Epoch, m.Lineage, m.Cut); err != nil {
			return err
		}
		durable, err := c.Sync() // what the leader counts on from now on
		s.received, s.durable = c.State().Last, durable
		return err
	})
	switch {
	case errors.Is(err, volume.ErrStaleEpoch):
		return err
	case err != nil:
		return fmt.Errorf("follow %s under %v: %w", s.peer, m.Epoch, err)
	}
	s.following = true
	return s.ack()
}

func (s *session) append(ctx context.Context, b volume.Batch) error {
	if !s.following || b.First != s.received+1 || b.Epoch > s.hello.Epoch {
		return refuse(wire.CodeProtocol, "records from %d of %v do not follow record %d", b.First, b.Epoch, s.received)
	}
	err := s.use(ctx, func(c Copy) error {
		if err := c.Append(b); err != nil {
			return err
		}
		if s.committed > s.received { // else it was said when it came
			c.Commit(min(s.committed, b.Last()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.received = b.Last()
	s.unacked += len(b.Data) + len(b.Records)
	return nil
}

// sync keeps F3.
func (s *session) sync(ctx context.Context) error {
	s.flush = false
	err := s.use(ctx, func(c Copy) (err error) {
		if seeded(ackBeforeSync) {
			s.durable = s.received
			return nil
		}
		s.durable, err = c.Sync()
		return err
	})
	if err != nil {
		return err
	}
	s.durable = min(s.durable, s.received)
	return s.ack()
}

func (s *session) ack() error {
	s.unacked = 0
	return s.send(&wire.Ack{Received: s.received, Durable: s.durable})
}

// commit says what may be folded (R5): nothing that is not here.
func (s *session) commit(ctx context.Context, lsn ballast.LSN) error {
	if !s.following {
		return refuse(wire.CodeProtocol, "a commit of record %d to a copy that does not follow", lsn)
	}
	s.committed = max(s.committed, lsn)
	return s.use(ctx, func(c Copy) error {
		c.Commit(min(s.committed, s.received))
		return nil
	})
}

// grow passes over a size that the copy has, or had before the leader knew.
func (s *session) grow(ctx context.Context, size int64) error {
	has := int64(0)
	err := s.use(ctx, func(c Copy) error {
		has = c.State().Size
		return nil
	})
	if err != nil || size <= has {
		return err
	}
	return s.useAlone(ctx, func(c Copy) error { return c.Resize(size) })
}
