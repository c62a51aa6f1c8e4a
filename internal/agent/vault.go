package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/user"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// vaultState is how the node stands with its archive.
type vaultState string

const (
	vaultOff         vaultState = "off"         // the node archives nothing
	vaultUnreachable vaultState = "unreachable" // not opened yet, or the store does not answer
	vaultMissing     vaultState = "missing"     // nobody made an archive there
	vaultLockedOut   vaultState = "locked-out"  // the password is not known, or another
	vaultReady       vaultState = "ready"
)

// vault is the node's archive. It is opened by the node's Run, as soon as it can be,
// and stays open; who needs it meanwhile is told why it is not.
type vault struct {
	open  func(ctx context.Context) (*opened, error)
	kick  chan struct{} // has room for one: try to open it now
	ready chan struct{} // closed once it is open

	mu     sync.Mutex // guards everything below
	opened *opened    // nil until it is open
	err    error      // why it is not
	since  time.Time  // of err
}

// opened is an archive that is open.
type opened struct {
	store   store.Store
	repo    *repository.Repository
	archive *archive.Archive

	unfenced bool // the store cannot keep two machines from continuing one history
}

func newVault(open func(ctx context.Context) (*opened, error)) *vault {
	return &vault{
		open: open, kick: make(chan struct{}, 1), ready: make(chan struct{}),
		err: errors.New("it is being opened"), since: time.Now(),
	}
}

// get returns the archive, or an error that wraps [ballast.ErrNotReady] and says why.
func (v *vault) get() (*opened, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened == nil {
		return nil, fmt.Errorf("the archive cannot be used: %w: %w", v.err, ballast.ErrNotReady)
	}
	return v.opened, nil
}

// wait is get for those who wait a little.
func (v *vault) wait(ctx context.Context) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, vaultPatience)
	defer cancel()
	v.tryNow()
	select {
	case <-v.ready:
	case <-ctx.Done():
	}
	return v.get()
}

// tryNow ends the wait between two attempts to open.
func (v *vault) tryNow() {
	select {
	case v.kick <- struct{}{}:
	default: // it is on its way
	}
}

// run opens the archive, and keeps it open until ctx ends. noted hears of every
// attempt.
func (v *vault) run(ctx context.Context, noted func(error)) {
	for failures := 1; ; failures++ {
		o, err := v.open(ctx)
		if ctx.Err() != nil {
			if err == nil {
				_ = o.store.Close() // nothing was written through it
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

func (v *vault) note(o *opened, err error) {
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

// close gives the store back. Nobody may use the archive any more.
func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened != nil {
		_ = v.opened.store.Close() // everything that counts was acknowledged
	}
}

// state says how things stand; err is why they are not well.
func (v *vault) state() (_ vaultState, since time.Time, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.opened != nil:
		return vaultReady, time.Time{}, nil
	case errors.Is(v.err, errNoPassword), errors.Is(v.err, repository.ErrWrongPassword), errors.Is(v.err, errNoKeyFile):
		return vaultLockedOut, v.since, v.err
	case errors.Is(v.err, ballast.ErrNotFound):
		return vaultMissing, v.since, v.err
	}
	return vaultUnreachable, v.since, v.err
}

// errNoKeyFile says that there is an archive in the data folder, and its password is gone.
var errNoKeyFile = errors.New("the archive's key file is gone, and nothing opens the archive without it: put it back from a copy")

// openArchive opens the node's archive. One in the data folder is made when it is missing;
// another is not, because its URL may be a wrong one, and a fresh archive beside the
// right one would look like success.
func (n *node) openArchive(ctx context.Context) (_ *opened, err error) {
	ctx, cancel := context.WithTimeout(ctx, openBudget)
	defer cancel()
	st, err := store.Open(ctx, n.cfg.Archive)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Close())
		}
	}()
	repo, err := n.openRepository(ctx, st, n.cfg.ownArchive())
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", n.cfg.publicURL(), err)
	}
	return &opened{store: st, repo: repo, archive: archive.New(st, repo, program(n.cfg.Version)), unfenced: n.isUnfenced(ctx, st)}, nil
}

// isUnfenced tries what fencing between machines stands on (G3). A store that cannot be
// written now may be good to restore from.
func (n *node) isUnfenced(ctx context.Context, st store.Store) bool {
	err := store.Probe(ctx, st, "")
	if err != nil {
		n.log.Warn("the archive was opened, but its store does not do all that it should", "url", n.cfg.publicURL(), "error", err)
	}
	return errors.Is(err, store.ErrUnconditional)
}

func (n *node) openRepository(ctx context.Context, st store.Store, mayMake bool) (*repository.Repository, error) {
	if mayMake {
		if err := n.makeOwnKey(ctx, st); err != nil {
			return nil, err
		}
	}
	password, err := n.password(ctx)
	if err != nil {
		return nil, err
	}
	repo, err := repository.Open(ctx, st, password)
	if errors.Is(err, ballast.ErrNotFound) && mayMake {
		n.log.Info("making the archive", "url", n.cfg.publicURL(), "password_file", n.cfg.passwordFile())
		return repository.Init(ctx, st, password, n.host())
	}
	return repo, err
}

// makeOwnKey makes the password of the archive in the data folder, unless there is an
// archive already: another password would not open it.
func (n *node) makeOwnKey(ctx context.Context, st store.Store) error {
	if !n.cfg.makesPassword() {
		return nil
	}
	if made, err := n.hasPassword(); made || err != nil {
		return err
	}
	_, err := st.Get(ctx, repositoryConfig, 0, -1)
	switch {
	case err == nil:
		return errNoKeyFile
	case !errors.Is(err, ballast.ErrNotFound):
		return err
	}
	return n.makePassword()
}

// repositoryConfig is the object that every repository has.
const repositoryConfig = "repo/config"

func (n *node) host() repository.Host {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return repository.Host{Name: string(n.cfg.Node), User: name}
}

func program(version string) string { return "ballast " + version }

// initArchive makes the archive that the node was told of, and opens it.
func (n *node) initArchive(ctx context.Context) (_ *repository.Repository, err error) {
	ctx, cancel := context.WithTimeout(ctx, openBudget)
	defer cancel()
	st, err := store.Open(ctx, n.cfg.Archive)
	if err != nil {
		return nil, fmt.Errorf("make archive: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	repo, err := n.initIn(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("make archive %s: %w", n.cfg.publicURL(), err)
	}
	n.log.Info("made the archive", "url", n.cfg.publicURL(), "repository_id", repo.ID())
	return repo, nil
}

// initIn makes the archive in a store that can hold one.
func (n *node) initIn(ctx context.Context, st store.Store) (*repository.Repository, error) {
	if err := store.Probe(ctx, st, ""); err != nil {
		return nil, err
	}
	if n.cfg.ownArchive() {
		if err := n.makeOwnKey(ctx, st); err != nil {
			return nil, err
		}
	}
	password, err := n.password(ctx)
	if err != nil {
		return nil, err
	}
	return repository.Init(ctx, st, password, n.host())
}

// noteArchive says how the node stands with its archive.
func (n *node) noteArchive(err error) {
	state, _, _ := n.vault.state() // err is the same
	if err == nil {
		n.health.clear("", condArchive)
		n.quiet.over("archive")
		n.log.Info("opened the archive", "url", n.cfg.publicURL())
		if o, err := n.vault.get(); err == nil && o.unfenced {
			n.health.raise("", condArchiveUnfenced, "The archive's store does not know conditional writes (If-None-Match): of two machines that recover one volume, nothing stops either.",
				"move the archive to a store that does; until then never run `ballast recover` on two machines, nor while the old one may run")
		}
		if n.cfg.localArchive() {
			n.health.raise("", condArchiveLocal, "The archive is on this machine: it brings volumes back as they were at a moment, and is no disaster recovery.",
				"for that, archive elsewhere: `ballast agent --archive s3://bucket/prefix?endpoint=…`")
		}
		return
	}
	n.quiet.warn("archive", "the archive cannot be opened; volumes work on, and what they write waits in their logs", "state", string(state), "error", err)
	hint := "look at the store and the network; the archive is opened as soon as it answers"
	switch state {
	case vaultMissing:
		hint = "if the URL is right and there never was an archive: `ballast archive init`"
	case vaultLockedOut:
		hint = "give the right password with --archive-password-file or --archive-password-command, and start the agent again"
	case vaultOff, vaultReady, vaultUnreachable:
	}
	n.health.raise("", condArchive, fmt.Sprintf("Nothing is archived: %v. Volumes work on; what they write waits in their logs, up to %s each.", err, ballast.FormatSize(n.cfg.ArchiveQueue)), hint)
}
