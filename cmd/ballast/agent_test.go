package main

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ballast-io/ballast/internal/agent"
)

func TestArchiveOptions(t *testing.T) {
	const url, file, command = "BALLAST_ARCHIVE", "BALLAST_ARCHIVE_PASSWORD_FILE", "BALLAST_ARCHIVE_PASSWORD_COMMAND"
	for _, tt := range []struct {
		name               string
		args               []string
		env                map[string]string
		url, file, command string
		ok                 bool
	}{
		{"nothing said", nil, nil, "", "", "", true},
		{"the environment", nil, map[string]string{url: "file:///a", file: "/p"}, "file:///a", "/p", "", true},
		{"the command line wins", []string{"--archive", "file:///b"}, map[string]string{url: "file:///a"}, "file:///b", "", "", true},
		{"a file on the command line replaces a command around it", []string{"--archive-password-file", "/q"}, map[string]string{command: "pass"}, "", "/q", "", true},
		{"two on the command line", []string{"--archive-password-file", "/q", "--archive-password-command", "pass"}, nil, "", "/q", "pass", false},
		{"two in the environment", nil, map[string]string{file: "/p", command: "pass"}, "", "/p", "pass", false},
		{"a queue that is no size", []string{"--archive-queue", "much"}, nil, "", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &cli{outside: outside{getenv: func(name string) string { return tt.env[name] }}}
			var cfg agent.Config
			f := pflag.NewFlagSet("agent", pflag.ContinueOnError)
			settle := archiveFlags(f, &cfg)
			err := firstError(f.Parse(tt.args), c.readEnv(f))
			if err == nil {
				err = settle()
			}
			if (err == nil) != tt.ok {
				t.Fatalf("error %v; want success %t", err, tt.ok)
			}
			if cfg.Archive != tt.url || cfg.ArchivePasswordFile != tt.file || cfg.ArchivePasswordCommand != tt.command {
				t.Errorf("got %q, %q, %q; want %q, %q, %q", cfg.Archive, cfg.ArchivePasswordFile, cfg.ArchivePasswordCommand, tt.url, tt.file, tt.command)
			}
		})
	}
}

// An operator sees what going on from a view means, and is asked, unless they said that they need not be.
func TestConfirmNewCluster(t *testing.T) {
	var out bytes.Buffer
	c := &cli{outside: outside{stdout: &out, tty: func() (*os.File, error) { return nil, errors.New("none") }}}
	if err := c.confirmNewCluster(t.Context(), "the plan", true); err != nil || out.String() != "the plan\n" {
		t.Errorf("with --yes: %v, shown %q", err, out.String())
	}
	err := c.confirmNewCluster(t.Context(), "the plan", false)
	if f, ok := errors.AsType[*failure](err); !ok || f.code != exitUsage {
		t.Errorf("without a terminal: %v; want it refused", err)
	}
}
