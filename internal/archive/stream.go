package archive

import (
	"context"
	"runtime"

	"github.com/ballast-io/ballast"
)

// maxFetchers bounds the chunks that are fetched ahead, a MiB each.
const maxFetchers = 16

// fetched is a chunk on its way.
type fetched struct {
	data []byte // nil: all zeros
	err  error
}

// Stream hands out every chunk in ascending order: its bytes, which are valid until
// write returns, or nil for one that is all zeros. It fetches ahead, side by side, within
// 16 MiB, and ends with the first error. Report may be nil.
func (s *Source) Stream(ctx context.Context, write func(chunk int, data []byte) error, report func(Progress)) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := min(maxFetchers, 2+2*runtime.GOMAXPROCS(0))
	queue, free := make(chan chan fetched, ahead), make(chan []byte, ahead)
	for range ahead {
		free <- make([]byte, ballast.ChunkSize)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(queue)
		s.fetchAll(ctx, queue, free)
	}()
	defer func() {
		cancel()
		for answer := range queue { // whoever still fetches has a place for its answer
			<-answer
		}
		<-done
	}()
	for chunk := 0; chunk < s.chunks; chunk++ {
		answer, ok := <-queue
		if !ok {
			return context.Cause(ctx)
		}
		got := <-answer
		if got.err != nil {
			return got.err
		}
		if err := write(chunk, got.data); err != nil {
			return err
		}
		if got.data != nil {
			free <- got.data
		}
		if report != nil && (chunk%pieceChunks == 0 || chunk == s.chunks-1) {
			report(Progress{Done: int64(chunk+1) * ballast.ChunkSize, Total: s.Size()})
		}
	}
	return nil
}

// fetchAll starts fetching each chunk and queues where its answer will be.
func (s *Source) fetchAll(ctx context.Context, queue chan<- chan fetched, free chan []byte) {
	for chunk := range s.chunks {
		answer := make(chan fetched, 1)
		if s.Present(chunk) {
			answer <- fetched{}
		} else {
			select {
			case buffer := <-free:
				go func() { answer <- fetched{buffer, s.Fetch(ctx, chunk, buffer)} }()
			case <-ctx.Done():
				return
			}
		}
		select {
		case queue <- answer:
		case <-ctx.Done():
			<-answer
			return
		}
	}
}
