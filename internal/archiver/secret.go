package archiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	maxPassword      = 4 << 10
	passwordPatience = 30 * time.Second
)

// errNoPassword says that nobody told the archive's password.
var errNoPassword = errors.New("there is no password for the archive: give --archive-password-file, or a command that prints it with --archive-password-command")

// password returns the archive's password. No error has any of it, nor what a command
// printed (G9).
func (p Opener) password(ctx context.Context) ([]byte, error) {
	if p.Location.PasswordCommand != "" {
		return runPassword(ctx, p.Location.PasswordCommand)
	}
	if file := p.Location.File(); file != "" {
		return readPassword(file)
	}
	return nil, errNoPassword
}

// hasPassword reports whether the node's own password was made.
func (p Opener) hasPassword() (bool, error) {
	_, err := os.Lstat(filepath.Join(p.Location.DataDir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// makePassword makes the password of the archive in the data folder. The archive is
// made after it: of one whose password nobody keeps there is none.
func (p Opener) makePassword() error {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails, says its documentation
	text := base64.RawURLEncoding.EncodeToString(raw[:]) + "\n"
	if err := vfs.ReplaceFile(p.Disk, keyFile, []byte(text)); err != nil {
		return fmt.Errorf("make the archive's key file: %w", err)
	}
	return nil
}

func readPassword(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the archive's password: %w", err)
	}
	defer f.Close() // was only read
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return nil, fmt.Errorf("read the archive's password: %w", err)
	}
	return CheckPassword(text, file)
}

// CheckPassword takes the line's end from a password, and refuses one that is none; from says
// where it is from.
func CheckPassword(text []byte, from string) ([]byte, error) {
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 || len(text) > maxPassword {
		return nil, fmt.Errorf("read the archive's password: %s gives %d bytes; a password has between 1 and %d: %w", from, len(text), maxPassword, ballast.ErrInvalid)
	}
	return text, nil
}

// runPassword asks the user's command. What it says besides is not repeated: it may
// be about the secret.
func runPassword(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, passwordPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with its children
	cmd.WaitDelay = time.Second
	var out limitedBuffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ask the command for the archive's password: %w", errors.Join(err, ctx.Err()))
	}
	return CheckPassword(out.Bytes(), "the command")
}

// limitedBuffer keeps what a password can have, and one byte more.
type limitedBuffer struct{ bytes.Buffer }

// Write implements [io.Writer].
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxPassword + 1 - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
