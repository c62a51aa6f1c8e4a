package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Opener opens the archive at a location, and makes it. Its errors and logs have none of the
// secrets (A16).
type Opener struct {
	Location Location
	Node     ballast.NodeID
	Version  string // of this program
	Disk     vfs.FS // the location's data folder
	Log      *slog.Logger
}

// errNoKeyFile says that there is an archive in the data folder, and its password is gone.
var errNoKeyFile = errors.New("the archive's key file is gone, and nothing opens the archive without it: put it back from a copy")

// Open opens the node's archive. One in the data folder is made when it is missing;
// another is not, because its URL may be a wrong one, and a fresh archive beside the
// right one would look like success.
func (p Opener) Open(ctx context.Context) (_ *Opened, err error) {
	ctx, cancel := context.WithTimeout(ctx, openBudget)
	defer cancel()
	st, err := store.Open(ctx, p.Location.URL)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Close())
		}
	}()
	repo, err := p.openRepository(ctx, st, p.Location.IsOwn())
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", p.Location.Public(), err)
	}
	return &Opened{Store: st, Repo: repo, Archive: archive.New(st, repo, program(p.Version)), Unfenced: p.isUnfenced(ctx, st)}, nil
}

// isUnfenced tries what fencing between machines stands on (G3). A store that cannot be
// written now may be good to restore from.
func (p Opener) isUnfenced(ctx context.Context, st store.Store) bool {
	err := store.Probe(ctx, st, "")
	if err != nil {
		p.Log.Warn("the archive was opened, but its store does not do all that it should", "url", p.Location.Public(), "error", err)
	}
	return errors.Is(err, store.ErrUnconditional)
}

func (p Opener) openRepository(ctx context.Context, st store.Store, mayMake bool) (*repository.Repository, error) {
	if mayMake {
		if err := p.makeOwnKey(ctx, st); err != nil {
			return nil, err
		}
	}
	password, err := p.password(ctx)
	if err != nil {
		return nil, err
	}
	repo, err := repository.Open(ctx, st, password)
	if errors.Is(err, ballast.ErrNotFound) && mayMake {
		p.Log.Info("making the archive", "url", p.Location.Public(), "password_file", p.Location.File())
		return repository.Init(ctx, st, password, p.Host())
	}
	return repo, err
}

// makeOwnKey makes the password of the archive in the data folder, unless there is an
// archive already: another password would not open it.
func (p Opener) makeOwnKey(ctx context.Context, st store.Store) error {
	if !p.Location.MakesPassword() {
		return nil
	}
	if made, err := p.hasPassword(); made || err != nil {
		return err
	}
	_, err := st.Get(ctx, repositoryConfig, 0, -1)
	switch {
	case err == nil:
		return errNoKeyFile
	case !errors.Is(err, ballast.ErrNotFound):
		return err
	}
	return p.makePassword()
}

// repositoryConfig is the object that every repository has.
const repositoryConfig = "repo/config"

// Host is who makes keys here.
func (p Opener) Host() repository.Host {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return repository.Host{Name: string(p.Node), User: name}
}

func program(version string) string { return "ballast " + version }

// Init makes the archive that the node was told of, and opens it.
func (p Opener) Init(ctx context.Context) (_ *repository.Repository, err error) {
	ctx, cancel := context.WithTimeout(ctx, openBudget)
	defer cancel()
	st, err := store.Open(ctx, p.Location.URL)
	if err != nil {
		return nil, fmt.Errorf("make archive: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	repo, err := p.initIn(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("make archive %s: %w", p.Location.Public(), err)
	}
	p.Log.Info("made the archive", "url", p.Location.Public(), "repository_id", repo.ID())
	return repo, nil
}

// initIn makes the archive in a store that can hold one.
func (p Opener) initIn(ctx context.Context, st store.Store) (*repository.Repository, error) {
	if err := store.Probe(ctx, st, ""); err != nil {
		return nil, err
	}
	if p.Location.IsOwn() {
		if err := p.makeOwnKey(ctx, st); err != nil {
			return nil, err
		}
	}
	password, err := p.password(ctx)
	if err != nil {
		return nil, err
	}
	return repository.Init(ctx, st, password, p.Host())
}
