package lease

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Keeper is the one writer of a node's lease.
type Keeper struct {
	mu  sync.Mutex // guards everything below
	p   *page
	mem []byte // nil once closed
}

// Keep opens the lease in the folder dir for its keeper, making it when there is none.
// What an agent of this boot has left there goes on to count, until its time is over; a
// file of an earlier boot, or one that is no lease, is begun anew (E3). The caller
// must Close the result.
func Keep(dir string) (_ *Keeper, err error) {
	name := filepath.Join(dir, FileName)
	defer func() {
		if err != nil {
			err = fmt.Errorf("open lease %s: %w", name, err)
		}
	}()
	boot, err := bootNumber()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the mapping stays
	if err := f.Truncate(pageSize); err != nil {
		return nil, err
	}
	p, mem, err := mapPage(f, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	if p.magic.Load() != magic || p.boot.Load() != boot {
		p.magic.Store(0)
		p.until.Store(0)
		p.session.Store(0)
		p.grace.Store(0)
		p.boot.Store(boot)
		p.magic.Store(magic)
	}
	return &Keeper{p: p, mem: mem}, nil
}

// Renew says that the node's session is good until a moment of the clock [Now], and that
// the node gives up what it has when grace has passed after that. Another session than
// before takes the place of the earlier one. A moment earlier than one that was said before
// is left alone: what engines were told they may rely on.
func (k *Keeper) Renew(session uint64, until, grace time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mem == nil {
		return
	}
	if k.p.session.Load() != session {
		// E2: readers look at the session before and after the time.
		k.p.until.Store(0)
		k.p.session.Store(session)
	}
	k.p.grace.Store(int64(grace))
	k.p.until.Store(max(k.p.until.Load(), int64(until)))
}

// Close lets go of the lease, which is not ended by that.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	mem := k.mem
	k.p, k.mem = nil, nil
	if mem == nil {
		return nil
	}
	return unix.Munmap(mem)
}

// Read returns what was said last, as [View.Read] does.
func (k *Keeper) Read() (session uint64, until, grace time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mem == nil {
		return 0, 0, 0
	}
	return k.p.session.Load(), time.Duration(k.p.until.Load()), time.Duration(k.p.grace.Load())
}
