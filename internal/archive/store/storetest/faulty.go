package storetest

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"github.com/ballast-io/ballast/internal/archive/store"
)

// Op is a kind of call to a store.
type Op string

// The kinds of calls.
const (
	Put    Op = "put"
	Create Op = "create"
	Get    Op = "get"
	List   Op = "list"
	Delete Op = "delete"
)

// Call is a call that a [Faulty] store is asked for.
type Call struct {
	N    int // of all calls, from 0
	Op   Op
	Name string // or prefix
	OfOp int    // of the calls of this kind, from 0
}

// Fault is what goes wrong with a call. The zero value: nothing.
type Fault struct {
	// Err is returned and nothing is done; with After it is returned although the
	// call was carried out.
	Err   error
	After bool
	// Wait makes the call wait until it is closed, or its context ends.
	Wait <-chan struct{}
	// Lost acknowledges a Put, Create or Delete that is not carried out.
	Lost bool
	// Truncate leaves off the last bytes of a Get and says nothing of it, as no
	// store should; of a List, the last objects.
	Truncate int
	// Flip inverts a bit of a Get, that of this number modulo its bits, from 1; 0 none.
	Flip int
}

// ErrFull is what a store that is full answers.
var ErrFull = fmt.Errorf("the store is full: %w", syscall.ENOSPC)

// Faulty is a store that goes wrong as told. It is safe for concurrent use.
type Faulty struct {
	store.Store

	mu    sync.Mutex // guards everything below
	calls []Call
	fault func(Call) Fault
}

// NewFaulty wraps st. It behaves until [Faulty.FailWith].
func NewFaulty(st store.Store) *Faulty { return &Faulty{Store: st} }

// FailWith asks fault at every call from now on. Nil behaves again. Fault is not called
// twice at once.
func (f *Faulty) FailWith(fault func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Calls returns the calls so far.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.calls...)
}

// FailAt is a script for [Faulty.FailWith]: the call of that number (of all calls, from 0)
// fails with err, and nothing else.
func FailAt(n int, err error) func(Call) Fault {
	return func(c Call) Fault {
		if c.N == n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// FailOps is a script: calls of these kinds fail with err.
func FailOps(err error, ops ...Op) func(Call) Fault {
	return func(c Call) Fault {
		if slices.Contains(ops, c.Op) {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// Random is a script: of a hundred calls, percent fail with err, half of them after they
// were carried out. One seed goes wrong in one way.
func Random(seed uint64, percent int, err error) func(Call) Fault {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(Call) Fault {
		if rng.IntN(100) >= percent {
			return Fault{}
		}
		return Fault{Err: err, After: rng.IntN(2) == 0}
	}
}

// begin notes a call and returns what goes wrong with it, when it has waited.
func (f *Faulty) begin(ctx context.Context, op Op, name string) (Fault, error) {
	fault := f.note(op, name)
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-ctx.Done():
			return fault, fmt.Errorf("%s %s: %w", op, name, ctx.Err())
		}
	}
	if fault.Err != nil && !fault.After {
		return fault, fmt.Errorf("%s %s: %w", op, name, fault.Err)
	}
	return fault, nil
}

func (f *Faulty) note(op Op, name string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := Call{N: len(f.calls), Op: op, Name: name}
	for _, c := range f.calls {
		if c.Op == op {
			call.OfOp++
		}
	}
	f.calls = append(f.calls, call)
	if f.fault == nil {
		return Fault{}
	}
	return f.fault(call)
}

// change carries out a call that changes the store, as far as its fault lets it.
func (f *Faulty) change(ctx context.Context, op Op, name string, do func() error) error {
	fault, err := f.begin(ctx, op, name)
	if err != nil || fault.Lost {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if fault.Err != nil {
		return fmt.Errorf("%s %s: %w", op, name, fault.Err)
	}
	return nil
}

// Put implements [store.Store].
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	return f.change(ctx, Put, name, func() error { return f.Store.Put(ctx, name, data) })
}

// Create implements [store.Store].
func (f *Faulty) Create(ctx context.Context, name string, data []byte) error {
	return f.change(ctx, Create, name, func() error { return f.Store.Create(ctx, name, data) })
}

// Delete implements [store.Store].
func (f *Faulty) Delete(ctx context.Context, name string) error {
	return f.change(ctx, Delete, name, func() error { return f.Store.Delete(ctx, name) })
}

// Get implements [store.Store].
func (f *Faulty) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	fault, err := f.begin(ctx, Get, name)
	if err != nil {
		return nil, err
	}
	data, err := f.Store.Get(ctx, name, off, n)
	switch {
	case err != nil:
		return nil, err
	case fault.Err != nil:
		return nil, fmt.Errorf("%s %s: %w", Get, name, fault.Err)
	}
	if fault.Flip > 0 && len(data) > 0 {
		bit := (fault.Flip - 1) % (8 * len(data))
		data[bit/8] ^= 1 << (bit % 8)
	}
	return data[:max(0, len(data)-fault.Truncate)], nil
}

// List implements [store.Store].
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		fault, err := f.begin(ctx, List, prefix)
		if err != nil {
			yield(store.Object{}, err)
			return
		}
		if !f.list(ctx, prefix, fault.Truncate, yield) {
			return
		}
		if fault.Err != nil {
			yield(store.Object{}, fmt.Errorf("%s %s: %w", List, prefix, fault.Err))
		}
	}
}

// list hands on a listing but for its last objects, and says whether it came to the end.
func (f *Faulty) list(ctx context.Context, prefix string, without int, yield func(store.Object, error) bool) bool {
	var held []store.Object
	for o, err := range f.Store.List(ctx, prefix) {
		if err != nil {
			yield(o, err)
			return false
		}
		held = append(held, o)
		if len(held) <= without {
			continue
		}
		if !yield(held[0], nil) {
			return false
		}
		held = held[1:]
	}
	return true
}
