package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/internal/environ"
)

// maxLog bounds engine.log in bytes: a longer one becomes engine.log.1 at the next start.
const maxLog = 1 << 20

// killPatience is how long a killed engine may take to be gone.
const killPatience = 2 * time.Second

// Spawn starts an engine and returns when it serves. What it says goes to engine.log in
// the volume's folder. When ctx ends first the engine is killed. The caller must Close
// the result, which leaves the engine running.
func Spawn(ctx context.Context, cfg Config) (_ *Client, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
		}
	}()
	cmd, err := command(cfg)
	if err != nil {
		return nil, err
	}
	log, err := openLog(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the engine has its own descriptor
	cmd.Stderr = log
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close() // was only read
	members, err := membersPipe(cfg.Members)
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	cmd.ExtraFiles = []*os.File{theirs, members}
	err = cmd.Start()
	if err := errors.Join(err, theirs.Close(), members.Close()); err != nil {
		return nil, err
	}
	return await(ctx, cfg.Dir, cmd.Process, ready)
}

// command is how an engine is started: detached from everything that is ours. The @
// is for systemd, which spares a process of that name when it ends a machine: the
// filesystems on it are unmounted after.
func command(cfg Config) (*exec.Cmd, error) {
	executable := cfg.Executable
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable)
	cmd.Args = []string{"@ballast", "engine", "--dir", dir,
		"--epoch", strconv.FormatUint(uint64(cfg.Epoch), 10),
		"--log-capacity", strconv.FormatInt(cfg.LogCapacity, 10),
		"--queue", strconv.FormatInt(cfg.Queue, 10)}
	for _, option := range [][2]string{{"--agent", cfg.Agent}, {"--node", string(cfg.Node)}, {"--lease", cfg.Lease}, {"--identity", cfg.Identity}} {
		if option[1] != "" {
			cmd.Args = append(cmd.Args, option[:]...)
		}
	}
	if cfg.Settle != 0 {
		cmd.Args = append(cmd.Args, "--settle", cfg.Settle.String())
	}
	cmd.Dir = "/"                                                                                              // or it would hold the folder's filesystem
	cmd.Env = environ.Of(readyVariable+"="+strconv.Itoa(readyFD), membersVariable+"="+strconv.Itoa(membersFD)) // an engine asks nobody, so it needs no credentials (G9)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, logName)
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxLog {
		err = os.Rename(path, path+".1")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// await returns a client once the engine says that it is ready.
func await(ctx context.Context, dir string, process *os.Process, ready *os.File) (_ *Client, err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	c := newClient(dir, folder, process)
	// The engine's end closes the pipe too; only one that is stuck keeps us here.
	stop := context.AfterFunc(ctx, func() { _ = c.Kill() }) // reported below
	defer stop()
	word, err := io.ReadAll(io.LimitReader(ready, maxReason))
	if err == nil && string(word) == readyWord && ctx.Err() == nil {
		return c, nil
	}
	err = errors.Join(err, ctx.Err())
	switch {
	case err == nil && len(word) > 0:
		err = errors.New(string(word))
	case err == nil:
		err = fmt.Errorf("it ended without a word; %s may say why", filepath.Join(dir, logName))
	}
	err = errors.Join(err, c.Kill())
	// Killed, it ends as soon as the disk lets it; we do not wait for the disk.
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	return nil, errors.Join(err, c.Wait(waiting), c.Close())
}
