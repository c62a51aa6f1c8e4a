package lease

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// View looks at a node's lease.
type View struct {
	p    *page
	mem  []byte
	boot uint64
}

// Open opens the lease at path for looking at. It must have been made by its keeper.
// The caller must Close the result.
func Open(path string) (_ *View, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open lease %s: %w", path, err)
		}
	}()
	boot, err := bootNumber()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the mapping stays
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < pageSize { // looking behind a file's end is fatal
		return nil, fmt.Errorf("it has %d bytes; a lease has %d", info.Size(), pageSize)
	}
	p, mem, err := mapPage(f, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	return &View{p: p, mem: mem, boot: boot}, nil
}

// Read returns the session that the lease is of, until when it is good, on the clock
// [Now], and how long after that the node gives up. Without a lease of this boot all is zero.
func (v *View) Read() (session uint64, until, grace time.Duration) {
	if v.p.magic.Load() != magic || v.p.boot.Load() != v.boot {
		return 0, 0, 0 // E3
	}
	session = v.p.session.Load()
	until, grace = time.Duration(v.p.until.Load()), time.Duration(v.p.grace.Load())
	if v.p.session.Load() != session {
		return 0, 0, 0 // it changes at this moment (E2)
	}
	return session, until, grace
}

// Valid reports whether the lease is of that session and not past.
func (v *View) Valid(session uint64) bool {
	of, until, _ := v.Read()
	return of == session && session != 0 && Now() < until
}

// Close lets go of the lease. Nothing may look at it any more.
func (v *View) Close() error {
	mem := v.mem
	v.p, v.mem = nil, nil
	if mem == nil {
		return nil
	}
	return unix.Munmap(mem)
}
