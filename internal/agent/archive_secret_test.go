package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/vfs"
)

// secretNode is a node that can be asked for its archive's password, and what it logs.
func secretNode(t *testing.T, change func(*Config)) (*node, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	dir := t.TempDir()
	cfg := Config{DataDir: dir, Node: "n1", Log: slog.New(slog.NewTextHandler(&said, nil))}
	change(&cfg)
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return &node{cfg: cfg, disk: disk, log: cfg.Log}, &said
}

const secret = "Tr0ub4dor&3"

// G9: a password is found where it is said to be, and no error or log has any of it.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(long, []byte(strings.Repeat(secret, 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string // "": refused
	}{
		{"file", func(c *Config) { c.ArchivePasswordFile = file }, secret},
		{"command", func(c *Config) { c.ArchivePasswordCommand = "echo '" + secret + "'" }, secret},
		{"command without a line's end", func(c *Config) { c.ArchivePasswordCommand = "printf %s '" + secret + "'" }, secret},
		{"no file", func(c *Config) { c.ArchivePasswordFile = file + "x" }, ""},
		{"empty", func(c *Config) { c.ArchivePasswordCommand = "true" }, ""},
		{"too long", func(c *Config) { c.ArchivePasswordFile = long }, ""},
		{"command prints without end", func(c *Config) { c.ArchivePasswordCommand = "head -c 1000000 /dev/zero" }, ""},
		{"command fails and tells", func(c *Config) { c.ArchivePasswordCommand = "echo '" + secret + "'; echo '" + secret + "' >&2; false" }, ""},
		{"nobody knows", func(c *Config) { c.Archive = "s3://bucket/x" }, ""},
		{"own, not made yet", func(*Config) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, said := secretNode(t, tt.change)
			got, err := n.password(t.Context())
			if string(got) != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("password: %v; want %d bytes", err, len(tt.want))
			}
			if err != nil && strings.Contains(err.Error(), secret) || strings.Contains(said.String(), secret) {
				t.Error("the password is told")
			}
		})
	}
}

// The command's children end with it: nothing is left running when the agent ends.
func TestPasswordCommandEnds(t *testing.T) {
	n, _ := secretNode(t, func(c *Config) { c.ArchivePasswordCommand = "sleep 1000 & wait" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.password(ctx); err == nil {
		t.Error("a command that hangs gave a password")
	}
}

// G9: the node's own password is made once, for root alone, and is the same ever after.
func TestOwnPassword(t *testing.T) {
	n, _ := secretNode(t, func(*Config) {})
	if err := n.makePassword(); err != nil {
		t.Fatal(err)
	}
	first, err := n.password(t.Context())
	if err != nil || len(first) < 40 {
		t.Fatalf("made a password of %d bytes: %v", len(first), err)
	}
	if st, err := os.Stat(n.cfg.passwordFile()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want a file for its owner alone", st.Mode(), err)
	}
	if made, err := n.hasPassword(); err != nil || !made {
		t.Errorf("made: %t, %v; want it there", made, err)
	}
	if again, err := n.password(t.Context()); err != nil || !bytes.Equal(again, first) {
		t.Errorf("read again: %v; want the same", err)
	}
}

func TestArchiveConfig(t *testing.T) {
	for _, tt := range []struct {
		name         string
		change       func(*Config)
		ok, own, any bool
		public       string
	}{
		{"nothing said", func(c *Config) { c.DataDir = "/d" }, true, true, true, "file:///d/archive"},
		{"none", func(c *Config) { c.Archive = NoArchive }, true, false, false, "none"},
		{"a folder", func(c *Config) { c.Archive = "file:///x" }, true, false, true, "file:///x"},
		{"a secret in the URL", func(c *Config) { c.Archive = "s3://key:" + secret + "@bucket/x" }, true, false, true, "s3://bucket/x"},
		{"two passwords", func(c *Config) { c.ArchivePasswordFile, c.ArchivePasswordCommand = "/x", "y" }, false, false, false, ""},
		{"a retention that is none", func(c *Config) { c.Keep = "for ever and a day" }, false, false, false, ""},
		{"a negative interval", func(c *Config) { c.ArchiveInterval = -1 }, false, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{DataDir: "/d"}
			tt.change(&c)
			got, err := c.withDefaults()
			if (err == nil) != tt.ok {
				t.Fatalf("accepted: %v; want %t", err, tt.ok)
			}
			if err == nil && (got.ownArchive() != tt.own || got.archives() != tt.any || got.publicURL() != tt.public) {
				t.Errorf("own %t, any %t, %s; want %t, %t, %s", got.ownArchive(), got.archives(), got.publicURL(), tt.own, tt.any, tt.public)
			}
		})
	}
}
