package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/environ"
)

// served is the FUSE filesystem below a volume's device.
type served struct {
	dir string // where it is mounted
	dev uint64 // its device number, 0 when it is not mounted
}

// servedAt looks for what is mounted over dir, without touching it: the one who
// serves it may be dead or stopped.
func servedAt(dir string) (served, error) {
	all, err := mounts()
	if err != nil {
		return served{}, err
	}
	s := served{dir: dir}
	for _, m := range all {
		if m.target == dir && strings.HasPrefix(m.fstype, "fuse") {
			s.dev = m.dev // the last one covers the others
		}
	}
	return s, nil
}

// abort ends the FUSE connection: everything that waits for it fails, now and
// later. It is what MNT_FORCE is for, and unlike the files of fusectl it is always
// there. The filesystem itself stays mounted while something has it open.
func (s served) abort() {
	// An error means that it is not mounted, or busy; in both the connection is gone.
	_ = unix.Unmount(s.dir, unix.MNT_FORCE|unix.UMOUNT_NOFOLLOW)
}

// do runs f, which may be held up by the served file; when ctx ends it is freed (B4).
func (s served) do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.abort)
	err := f()
	if !stop() { // ctx ended, so f failed for that reason, or is worth nothing
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// command runs a program as do runs a function.
func (s served) command(ctx context.Context, name string, args ...string) ([]byte, error) {
	return s.commandOn(ctx, nil, name, args...)
}

// commandOn gives the program an open file as its descriptor 3.
func (s served) commandOn(ctx context.Context, file *os.File, name string, args ...string) (out []byte, err error) {
	// Not CommandContext: a program that waits for the device cannot be killed.
	// Freeing the device lets it end by itself, and it is killed as well.
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = environ.Of("LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	// A group of its own: Ctrl-C is for us, and half a resize is worth less than a whole one.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	err = s.do(ctx, func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
		defer stop()
		return cmd.Wait()
	})
	if err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %w%s", name, err, said(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// said is what a program wrote, on one line.
func said(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return ""
	}
	return " (it said: " + text + ")"
}
