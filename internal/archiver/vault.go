package archiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// Standing is how the node stands with its archive.
type Standing string

// How the node stands with its archive.
const (
	Off         Standing = "off"         // the node archives nothing
	Unreachable Standing = "unreachable" // not opened yet, or the store does not answer
	Missing     Standing = "missing"     // nobody made an archive there
	LockedOut   Standing = "locked-out"  // the password is not known, or another
	Ready       Standing = "ready"
)

// Vault is the node's archive. It is opened by its Run, as soon as it can be,
// and stays open; who needs it meanwhile is told why it is not.
type Vault struct {
	open  func(ctx context.Context) (*Opened, error)
	kick  chan struct{} // has room for one: try to open it now
	ready chan struct{} // closed once it is open

	mu     sync.Mutex // guards everything below
	opened *Opened    // nil until it is open
	err    error      // why it is not
	since  time.Time  // of err
}

// Opened is an archive that is open.
type Opened struct {
	Store   store.Store
	Repo    *repository.Repository
	Archive *archive.Archive

	Unfenced bool // the store cannot keep two machines from continuing one history
}

// NewVault returns a vault that is not open yet, and is opened with open.
func NewVault(open func(ctx context.Context) (*Opened, error)) *Vault {
	return &Vault{
		open: open, kick: make(chan struct{}, 1), ready: make(chan struct{}),
		err: errors.New("it is being opened"), since: time.Now(),
	}
}

// Get returns the archive, or an error that wraps [ballast.ErrNotReady] and says why.
func (v *Vault) Get() (*Opened, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened == nil {
		return nil, fmt.Errorf("the archive cannot be used: %w: %w", v.err, ballast.ErrNotReady)
	}
	return v.opened, nil
}

// Wait is Get for those who wait a little.
func (v *Vault) Wait(ctx context.Context) (*Opened, error) {
	ctx, cancel := context.WithTimeout(ctx, vaultPatience)
	defer cancel()
	v.tryNow()
	select {
	case <-v.ready:
	case <-ctx.Done():
	}
	return v.Get()
}

// tryNow ends the wait between two attempts to open.
func (v *Vault) tryNow() {
	select {
	case v.kick <- struct{}{}:
	default: // it is on its way
	}
}

// Run opens the archive, and keeps it open until ctx ends. noted hears of every
// attempt.
func (v *Vault) Run(ctx context.Context, noted func(error)) {
	for failures := 1; ; failures++ {
		o, err := v.open(ctx)
		if ctx.Err() != nil {
			if err == nil {
				_ = o.Store.Close() // nothing was written through it
			}
			return
		}
		v.note(o, err)
		noted(err)
		if err == nil {
			<-ctx.Done()
			return
		}
		pause := time.NewTimer(backoff(failures, rand.Float64()))
		select {
		case <-pause.C:
		case <-v.kick:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

func (v *Vault) note(o *Opened, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		v.opened, v.err, v.since = o, nil, time.Time{}
		close(v.ready)
		return
	}
	if v.err == nil {
		v.since = time.Now()
	}
	v.err = err
}

// Close gives the store back. Nobody may use the archive any more.
func (v *Vault) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened != nil {
		_ = v.opened.Store.Close() // everything that counts was acknowledged
	}
}

// Standing says how things stand; err is why they are not well.
func (v *Vault) Standing() (_ Standing, since time.Time, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.opened != nil:
		return Ready, time.Time{}, nil
	case errors.Is(v.err, errNoPassword), errors.Is(v.err, repository.ErrWrongPassword), errors.Is(v.err, errNoKeyFile):
		return LockedOut, v.since, v.err
	case errors.Is(v.err, ballast.ErrNotFound):
		return Missing, v.since, v.err
	}
	return Unreachable, v.since, v.err
}
