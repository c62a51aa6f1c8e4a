package agent

import (
	"context"
	"errors"
	"os"
	"slices"
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
	made := newSite(t)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, n *node)
		change  func(*Config)
		want    error // nil: it opens
	}{
		{"own, at the first start", nil, func(*Config) {}, nil},
		{"own, whose key is gone", func(t *testing.T, n *node) { openOnce(t, n); loseKey(t, n) }, func(*Config) {}, errNoKeyFile},
		{"own, whose key is another", func(t *testing.T, n *node) { openOnce(t, n); loseKey(t, n); mustMakePassword(t, n) }, func(*Config) {}, repository.ErrWrongPassword},
		{"another, that is missing", nil, func(c *Config) { c.Archive, c.ArchivePasswordFile = folderURL(empty+"/none"), password }, ballast.ErrNotFound},
		{"another, with another password", nil, func(c *Config) { c.Archive, c.ArchivePasswordFile = folderURL(made.dir), password }, repository.ErrWrongPassword},
		{"another, without a password", nil, func(c *Config) { c.Archive = folderURL(made.dir) }, errNoPassword},
		{"a secret in the URL", nil, func(c *Config) {
			c.Archive, c.ArchivePasswordFile = "s3://key:"+secret+"@bucket/x", password
		}, ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, said := secretNode(t, tt.change)
			if tt.prepare != nil {
				tt.prepare(t, n)
			}
			o, err := n.openArchive(t.Context())
			if err == nil {
				err = o.store.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("openArchive: %v; want %v", err, tt.want)
			}
			if strings.Contains(said.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("a secret is told (A16): %v, %s", err, said)
			}
		})
	}
}

func openOnce(t *testing.T, n *node) {
	t.Helper()
	o, err := n.openArchive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.store.Close(); err != nil {
		t.Fatal(err)
	}
}

func loseKey(t *testing.T, n *node) {
	t.Helper()
	if err := os.Remove(n.cfg.passwordFile()); err != nil {
		t.Fatal(err)
	}
}

func mustMakePassword(t *testing.T, n *node) {
	t.Helper()
	if err := n.makePassword(); err != nil {
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
	m := newMachine()
	s := newSite(t)
	n := newTestNode(t, m, Config{DataDir: t.TempDir(), Archive: "s3://test/prefix"})
	st := unconditional{s.store}
	if _, err := n.initIn(t.Context(), st); !errors.Is(err, store.ErrUnconditional) {
		t.Errorf("init: %v; want that it does not know If-None-Match", err)
	}
	for _, want := range []bool{false, true} {
		var st store.Store = s.store
		if want {
			st = unconditional{st}
		}
		n.vault = newVault(nil)
		n.vault.note(&opened{store: st, repo: s.repo, unfenced: n.isUnfenced(t.Context(), st)}, nil)
		n.noteArchive(nil)
		got := slices.ContainsFunc(n.health.all(), func(c condition) bool { return c.code == condArchiveUnfenced })
		if got != want {
			t.Errorf("the node says that its store cannot fence: %t; want %t", got, want)
		}
	}
	s.store.FailWith(storetest.FailAt(0, storetest.ErrFull))
	if n.isUnfenced(t.Context(), s.store) {
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
	n, _ := secretNode(t, func(c *Config) { c.Archive, c.ArchivePasswordFile = folderURL(dir+"/site"), password })
	repo, err := n.initArchive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.initArchive(t.Context()); !errors.Is(err, ballast.ErrExists) {
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
