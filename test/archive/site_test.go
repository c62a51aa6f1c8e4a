package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
	"github.com/ballast-io/ballast/test/lab/objectstore"
	"github.com/ballast-io/ballast/test/postgres"
)

// site is what outlives machines: the store, and the archive's password.
type site struct {
	store    objectstore.Store
	password string
}

func newSite(t *testing.T) site {
	t.Helper()
	labtest.Require(t)
	program, err := s3test.Program(t.Context(), t.Logf)
	if err != nil {
		t.Skipf("left out: needs an S3 server: %v", err)
	}
	s := site{
		store:    objectstore.Store{Folder: filepath.Join(t.TempDir(), "store"), Program: program},
		password: filepath.Join(t.TempDir(), "password"),
	}
	must(t, os.WriteFile(s.password, []byte("correct horse battery staple\n"), 0o600))
	return s
}

// machine starts a machine with the store and an agent that archives to it.
func (s site) machine(t *testing.T) (*lab.Machine, *objectstore.Server) {
	t.Helper()
	m := labtest.New(t, lab.Options{AgentArgs: []string{"--archive", s.store.URL("prod"), "--archive-password-file", s.password}})
	server, err := s.store.Serve(t.Context(), m)
	must(t, err)
	must(t, m.Agent.Start(t.Context()))
	return m, server
}

// ballast runs a command of the machine that must succeed.
func ballast(t *testing.T, m *lab.Machine, args ...string) string {
	t.Helper()
	out, err := m.Ballast(t.Context(), args...)
	must(t, err)
	return out
}

// database is PostgreSQL on an attached volume.
func database(t *testing.T, m *lab.Machine, volume string) *postgres.Server {
	t.Helper()
	mountpoint := ballast(t, m, "volume", "attach", volume)
	db, err := postgres.On(t.Context(), m, volume, mountpoint)
	must(t, err)
	return db
}

func requirePostgres(t *testing.T) {
	t.Helper()
	if missing := postgres.Missing(); missing != "" {
		t.Skipf("left out: PostgreSQL needs %s", missing)
	}
}

// start runs a command in the background, to its end or the machine's.
func start(t *testing.T, m *lab.Machine, cmd *exec.Cmd) {
	t.Helper()
	must(t, m.Start(cmd))
	go func() { _ = cmd.Wait() }() // it ends with its machine at the latest
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
