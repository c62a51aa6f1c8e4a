package archiver

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

// secretOpener is an opener that can be asked for the archive's password, and what it logs.
func secretOpener(t *testing.T, change func(*Location)) (Opener, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	dir := t.TempDir()
	l := Location{DataDir: dir, URL: OwnURL(dir)}
	change(&l)
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return Opener{Location: l, Node: "n1", Disk: disk, Log: slog.New(slog.NewTextHandler(&said, nil))}, &said
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
		change func(*Location)
		want   string // "": refused
	}{
		{"file", func(l *Location) { l.PasswordFile = file }, secret},
		{"command", func(l *Location) { l.PasswordCommand = "echo '" + secret + "'" }, secret},
		{"command without a line's end", func(l *Location) { l.PasswordCommand = "printf %s '" + secret + "'" }, secret},
		{"no file", func(l *Location) { l.PasswordFile = file + "x" }, ""},
		{"empty", func(l *Location) { l.PasswordCommand = "true" }, ""},
		{"too long", func(l *Location) { l.PasswordFile = long }, ""},
		{"command prints without end", func(l *Location) { l.PasswordCommand = "head -c 1000000 /dev/zero" }, ""},
		{"command fails and tells", func(l *Location) { l.PasswordCommand = "echo '" + secret + "'; echo '" + secret + "' >&2; false" }, ""},
		{"nobody knows", func(l *Location) { l.URL = "s3://bucket/x" }, ""},
		{"own, not made yet", func(*Location) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, said := secretOpener(t, tt.change)
			got, err := p.password(t.Context())
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
	p, _ := secretOpener(t, func(l *Location) { l.PasswordCommand = "sleep 1000 & wait" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.password(ctx); err == nil {
		t.Error("a command that hangs gave a password")
	}
}

// G9: the node's own password is made once, for root alone, and is the same ever after.
func TestOwnPassword(t *testing.T) {
	p, _ := secretOpener(t, func(*Location) {})
	if err := p.makePassword(); err != nil {
		t.Fatal(err)
	}
	first, err := p.password(t.Context())
	if err != nil || len(first) < 40 {
		t.Fatalf("made a password of %d bytes: %v", len(first), err)
	}
	if st, err := os.Stat(p.Location.File()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want a file for its owner alone", st.Mode(), err)
	}
	if made, err := p.hasPassword(); err != nil || !made {
		t.Errorf("made: %t, %v; want it there", made, err)
	}
	if again, err := p.password(t.Context()); err != nil || !bytes.Equal(again, first) {
		t.Errorf("read again: %v; want the same", err)
	}
}
