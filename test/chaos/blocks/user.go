package blocks

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// Options of a user.
type Options struct {
	Dir         string // on the volume
	Incarnation uint32 // of no other user of the volume before: values are made of it (B3)
	Seed        uint64
	ReadOnly    bool // find, and write nothing
}

// user works on one mount.
type user struct {
	opts    Options
	say     *voice
	written atomic.Uint32 // values given out
	targets []target
}

// target is a set of registers.
type target interface {
	name() string
	// find calls found for each register that does not hold 0.
	find(found func(block int, v history.Value)) error
	// write writes a value, acknowledged by returning nil. begin hears the registers first.
	write(rng *rand.Rand, v history.Value, begin func(first, count int) error) error
	// read reads one register that is not being replaced, where that can be said.
	read(rng *rand.Rand) (block int, v history.Value, err error)
	io.Closer
}

// errNoReads is what a target answers that is read at the beginning only.
var errNoReads = errors.New("it is not read while it is written")

// Use says on w what dir holds and then writes to it until something fails, which it
// returns. See [Hear] for what it says.
func Use(w io.Writer, opts Options) (err error) {
	u := &user{opts: opts, say: &voice{w: w}}
	defer func() {
		for _, t := range u.targets {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := u.open(); err != nil {
		return err
	}
	if err := u.find(); err != nil || opts.ReadOnly {
		return err
	}
	var work errgroup.Group
	for i := range uint64(8) {
		work.Go(func() error { return u.write(u.targets[i%4], rand.New(rand.NewPCG(opts.Seed, i))) })
	}
	work.Go(func() error { return u.read(u.targets[0], rand.New(rand.NewPCG(opts.Seed, 99))) })
	return work.Wait()
}

func (u *user) open() error {
	for _, open := range []func() (target, error){
		func() (target, error) { return openFile(u.opts.Dir, "direct", 1, unix.O_DIRECT) },
		func() (target, error) { return openFile(u.opts.Dir, "buffered", 2, 0) },
		func() (target, error) { return openSlots(u.opts.Dir) },
		func() (target, error) { return openExtents(u.opts.Dir) },
	} {
		t, err := open()
		if err != nil {
			return err
		}
		u.targets = append(u.targets, t)
	}
	return nil
}

// find says what all registers hold.
func (u *user) find() error {
	for _, t := range u.targets {
		err := t.find(func(block int, v history.Value) { u.say.line("@found %s %d %x", t.name(), block, uint64(v)) })
		if err != nil {
			return err
		}
	}
	u.say.line("@ready %d", now())
	return u.say.err()
}

func (u *user) next() history.Value {
	return history.Value(uint64(u.opts.Incarnation)<<32 | uint64(u.written.Add(1)))
}

// write writes until it fails.
func (u *user) write(t target, rng *rand.Rand) error {
	for {
		v := u.next()
		err := t.write(rng, v, func(first, count int) error {
			u.say.line("@begin %x %s %d %d %d", uint64(v), t.name(), first, count, now())
			return u.say.err() // what nobody heard begin must not (B1)
		})
		if err != nil {
			u.say.line("@fail %x %d %q", uint64(v), now(), err)
			return err
		}
		u.say.line("@ack %x %d", uint64(v), now())
		if err := u.say.err(); err != nil {
			return err // nobody listens
		}
	}
}

// read reads, at a tenth of the pace, until it fails.
func (u *user) read(t target, rng *rand.Rand) error {
	for {
		call := now()
		block, v, err := t.read(rng)
		if err != nil {
			u.say.line("@fail 0 %d %q", now(), err)
			return err
		}
		u.say.line("@read %s %d %x %d %d", t.name(), block, uint64(v), call, now())
		if err := u.say.err(); err != nil {
			return err
		}
		pause()
	}
}

// now is the time of all machines (B2).
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // it has that clock
	}
	return t.Nano()
}

// Now is the clock that users tell times by.
func Now() int64 { return now() }

// pause leaves the disk to the writers.
func pause() {
	t := unix.Timespec{Nsec: 5_000_000}
	_ = unix.Nanosleep(&t, nil) // a little less is fine
}

// voice says lines, each in one piece.
type voice struct {
	w io.Writer

	mu     sync.Mutex // guards what follows
	failed error
}

func (v *voice) line(format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := io.WriteString(v.w, line); err != nil && v.failed == nil {
		v.failed = err
	}
}

func (v *voice) err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed
}
