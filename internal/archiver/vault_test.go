package archiver

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/vfs"
)

// A12: the node's own archive is made when there is none, and only then; every other one is
// left to `ballast archive init`.
func TestOpenArchive(t *testing.T) {
	empty := t.TempDir()
	password := empty + "/password"
	if err := os.WriteFile(password, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	madeDir, _ := newSite(t)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, p Opener)
		change  func(*Location)
		want    error // nil: it opens
	}{
		{"own, at the first start", nil, func(*Location) {}, nil},
		{"own, whose key is gone", func(t *testing.T, p Opener) { openOnce(t, p); loseKey(t, p) }, func(*Location) {}, errNoKeyFile},
		{"own, whose key is another", func(t *testing.T, p Opener) { openOnce(t, p); loseKey(t, p); mustMakePassword(t, p) }, func(*Location) {}, repository.ErrWrongPassword},
		{"another, that is missing", nil, func(l *Location) { l.URL, l.PasswordFile = FolderURL(empty+"/none"), password }, ballast.ErrNotFound},
		{"another, with another password", nil, func(l *Location) { l.URL, l.PasswordFile = FolderURL(madeDir), password }, repository.ErrWrongPassword},
		{"another, without a password", nil, func(l *Location) { l.URL = FolderURL(madeDir) }, errNoPassword},
		{"a secret in the URL", nil, func(l *Location) {
			l.URL, l.PasswordFile = "s3://key:"+secret+"@bucket/x", password
		}, ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, said := secretOpener(t, tt.change)
			if tt.prepare != nil {
				tt.prepare(t, p)
			}
			o, err := p.Open(t.Context())
			if err == nil {
				err = o.Store.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("Open: %v; want %v", err, tt.want)
			}
			if strings.Contains(said.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("a secret is told (A16): %v, %s", err, said)
			}
		})
	}
}

func openOnce(t *testing.T, p Opener) {
	t.Helper()
	o, err := p.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Store.Close(); err != nil {
		t.Fatal(err)
	}
}

func loseKey(t *testing.T, p Opener) {
	t.Helper()
	if err := os.Remove(p.Location.File()); err != nil {
		t.Fatal(err)
	}
}

func mustMakePassword(t *testing.T, p Opener) {
	t.Helper()
	if err := p.makePassword(); err != nil {
		t.Fatal(err)
	}
}

// unconditional is a store that does not know If-None-Match.
type unconditional struct{ store.Store }

func (s unconditional) Create(ctx context.Context, name string, data []byte) error {
	return s.Put(ctx, name, data)
}

// G3: where a store cannot decide between two machines no archive is made, and of one that
// is there already the node says so.
func TestStoreThatCannotFence(t *testing.T) {
	p, _ := secretOpener(t, func(l *Location) { l.URL = "s3://test/prefix" })
	_, made := newSite(t)
	faulty := storetest.NewFaulty(made)
	if _, err := p.initIn(t.Context(), unconditional{faulty}); !errors.Is(err, store.ErrUnconditional) {
		t.Errorf("init: %v; want that it does not know If-None-Match", err)
	}
	for _, want := range []bool{false, true} {
		var st store.Store = faulty
		if want {
			st = unconditional{st}
		}
		health := conditions{}
		a := Announcer{Node: Node{Health: health, Quiet: silence{}, Log: p.Log}, Vault: NewVault(nil), Location: p.Location}
		a.Vault.note(&Opened{Store: st, Unfenced: p.isUnfenced(t.Context(), st)}, nil)
		a.Announce(nil)
		if got := health[CondArchiveUnfenced]; got != want {
			t.Errorf("the node says that its store cannot fence: %t; want %t", got, want)
		}
	}
	faulty.FailWith(storetest.FailAt(0, storetest.ErrFull))
	if p.isUnfenced(t.Context(), faulty) {
		t.Error("a store that is full is taken for one that cannot fence")
	}
}

// Init makes what is missing, and nothing twice.
func TestInitArchive(t *testing.T) {
	dir := t.TempDir()
	password := dir + "/password"
	if err := os.WriteFile(password, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := secretOpener(t, func(l *Location) { l.URL, l.PasswordFile = FolderURL(dir+"/site"), password })
	repo, err := p.Init(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Init(t.Context()); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("made again: %v; want exists", err)
	}
	disk, err := vfs.OS(dir + "/site")
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if again, err := repository.Open(t.Context(), store.NewFolder(disk), []byte(secret)); err != nil || again.ID() != repo.ID() {
		t.Errorf("opened: %v; want the one that was made", err)
	}
}
