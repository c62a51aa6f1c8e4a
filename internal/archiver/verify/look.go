package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/environ"
)

const (
	checkBudget     = time.Hour        // a check of a large filesystem
	commandBudget   = 15 * time.Minute // the user's command
	maxCommandWords = 16 << 10         // of its output are kept
	sweepBudget     = 30 * time.Second
)

// lookAt mounts an image, runs the command in it, and checks its filesystem.
func lookAt(ctx context.Context, vol archiver.Volume, image, mountpoint, command string, r *Result) (err error) {
	if err := mountImage(ctx, vol.Spec.FS, image, mountpoint); err != nil {
		return err
	}
	if command != "" {
		r.Output, err = runIn(ctx, mountpoint, vol.Name, command)
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepBudget)
	defer cancel()
	if err := errors.Join(err, unmountImage(undo, mountpoint)); err != nil {
		return err
	}
	return checkFilesystem(ctx, vol.Spec.FS, image)
}

// mountImage mounts a file, on a loop device that goes with the mount. It is a copy of
// the caller's: the journal may be replayed into it.
func mountImage(ctx context.Context, kind ballast.Filesystem, image, mountpoint string) error {
	options := "loop,nosuid,nodev"
	if kind == ballast.XFS {
		options += ",nouuid" // the volume itself may be mounted
	}
	if err := run(ctx, "mount", "-t", string(kind), "-o", options, image, mountpoint); err != nil {
		return fmt.Errorf("mount what was restored: %w", err)
	}
	return nil
}

func unmountImage(ctx context.Context, mountpoint string) error {
	if err := run(ctx, "umount", mountpoint); err != nil {
		return fmt.Errorf("unmount what was restored: %w", err)
	}
	return nil
}

// run runs a program of the system's; its error has what the program said.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environ.Of()
	out := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, errors.Join(err, ctx.Err()), strings.TrimSpace(out.String()))
	}
	return nil
}

// checkFilesystem has the filesystem's own tool look at an image that nothing has mounted.
func checkFilesystem(ctx context.Context, kind ballast.Filesystem, image string) error {
	ctx, cancel := context.WithTimeout(ctx, checkBudget)
	defer cancel()
	var err error
	switch kind {
	case ballast.Ext4:
		err = run(ctx, "e2fsck", "-f", "-n", image)
	case ballast.XFS:
		err = run(ctx, "xfs_repair", "-n", "-f", image)
	default:
		err = fmt.Errorf("there is no filesystem %q", kind)
	}
	if err != nil {
		return fmt.Errorf("check the filesystem: %w", err)
	}
	return nil
}

// runIn runs the user's command in a restored filesystem. It gets nothing of the agent's
// environment, which may know secrets (G9), but what finds programs.
func runIn(ctx context.Context, dir, name, command string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandBudget)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LANG=C.UTF-8", "BALLAST_VOLUME=" + name, "BALLAST_MOUNTPOINT=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with its children
	cmd.WaitDelay = time.Second
	out := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind would keep the filesystem
	if err != nil {
		err = fmt.Errorf("run the command in what was restored: %w", errors.Join(err, ctx.Err()))
	}
	return out.String(), err
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct{ buf bytes.Buffer }

// Write implements [io.Writer].
func (t *tailBuffer) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - maxCommandWords; over > maxCommandWords {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	b := t.buf.Bytes()
	return string(bytes.ToValidUTF8(b[max(0, len(b)-maxCommandWords):], nil))
}
