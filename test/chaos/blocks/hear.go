package blocks

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// Heard is what a user said so far.
type Heard struct {
	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	found   map[history.Register]history.Value
	ready   int64 // when it had found all; 0: not yet
	ops     []history.Op
	open    map[history.Value]int // where in ops the write is that is not acknowledged yet
	acks    int
	last    int64 // when the last one came
	failed  string
	other   []string // what it said besides, such as why it ended
	ended   bool
}

// NewHeard has heard nothing.
func NewHeard() *Heard {
	h := &Heard{found: map[history.Register]history.Value{}, open: map[history.Value]int{}}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// Hear listens to what a user says until it says nothing more.
//
//	@found FILE BLOCK VALUE
//	@ready TIME
//	@begin VALUE FILE FIRST COUNT TIME
//	@ack VALUE TIME
//	@fail VALUE TIME "ERROR"
//	@read FILE BLOCK VALUE CALL RETURN
func (h *Heard) Hear(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		h.take(lines.Text())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.changed.Broadcast()
}

func (h *Heard) take(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.changed.Broadcast()
	if !h.parseLocked(line) {
		const enough = 20
		if len(h.other) < enough {
			h.other = append(h.other, line)
		}
	}
}

// parseLocked takes a line; the last one of a user that was killed may be a part of one.
func (h *Heard) parseLocked(line string) bool {
	var r history.Register
	var v, call, ret, count = uint64(0), int64(0), int64(0), 0
	word, rest, _ := strings.Cut(line, " ")
	is := func(n int, format string, into ...any) bool {
		got, err := fmt.Sscanf(rest, format, into...)
		return err == nil && got == n
	}
	switch word {
	case "@found":
		if is(3, "%s %d %x", &r.File, &r.Block, &v) {
			h.found[r] = history.Value(v)
			return true
		}
	case "@ready":
		return is(1, "%d", &h.ready)
	case "@begin":
		if is(5, "%x %s %d %d %d", &v, &r.File, &r.Block, &count, &call) {
			h.beginLocked(r, history.Value(v), count, call)
			return true
		}
	case "@ack":
		if is(2, "%x %d", &v, &ret) {
			return h.ackLocked(history.Value(v), ret)
		}
	case "@fail":
		h.failed = rest
		return true
	case "@read":
		if is(5, "%s %d %x %d %d", &r.File, &r.Block, &v, &call, &ret) {
			h.ops = append(h.ops, history.Op{Value: history.Value(v), Registers: []history.Register{r}, Call: call, Return: ret})
			return true
		}
	}
	return false
}

func (h *Heard) beginLocked(first history.Register, v history.Value, count int, call int64) {
	o := history.Op{Write: true, Value: v, Call: call, Return: history.Unknown}
	for b := range count {
		o.Registers = append(o.Registers, history.Register{File: first.File, Block: first.Block + b})
	}
	h.open[v] = len(h.ops)
	h.ops = append(h.ops, o)
}

func (h *Heard) ackLocked(v history.Value, ret int64) bool {
	i, ok := h.open[v]
	if !ok {
		return false
	}
	delete(h.open, v)
	h.ops[i].Return = ret
	h.acks++
	h.last = ret
	return true
}

// Acks is how many writes were acknowledged, and when the last one was.
func (h *Heard) Acks() (n int, last int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acks, h.last
}

// Ended says that the user has ended, and why as far as it said so.
func (h *Heard) Ended() (bool, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended, strings.Join(append(append([]string{}, h.other...), h.failed), "; ")
}

// Ready says whether the user has found all, and when.
func (h *Heard) Ready() (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready, h.ready != 0
}

// Await waits until done says so of what was heard, or the user has ended, and returns
// whether it was done. done is called under a lock that Heard's other methods take.
func (h *Heard) Await(done func(acks int, ready bool) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !done(h.acks, h.ready != 0) {
		if h.ended {
			return false
		}
		h.changed.Wait()
	}
	return true
}

// Incarnation is what was heard so far, as history wants it.
func (h *Heard) Incarnation(node string, epoch uint64, asleep []history.Span) *history.Incarnation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &history.Incarnation{Node: node, Epoch: epoch, Found: h.found, Began: h.ready, Ops: append([]history.Op(nil), h.ops...), Asleep: asleep}
}
