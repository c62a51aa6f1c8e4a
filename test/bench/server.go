package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

// server is a program that serves while something is measured.
type server struct {
	cmd     *exec.Cmd
	end     syscall.Signal              // asks it to end
	answers func(context.Context) error // nil once it is of use
}

// serving runs f while the server runs.
func (b *bench) serving(ctx context.Context, s server, f func() error) (err error) {
	var said bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := b.m.Start(s.cmd); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	over := false
	defer func() {
		if !over {
			over = true
			err = errors.Join(err, s.cmd.Process.Signal(s.end), <-ended)
		}
	}()
	err = lab.Poll(ctx, s.cmd.Path+" to answer", func(ctx context.Context) error {
		select {
		case err := <-ended:
			over = true
			return lab.Hopeless(fmt.Errorf("it ended: %w: %s", err, said.Bytes()))
		default:
			return s.answers(ctx)
		}
	})
	if err != nil {
		return err
	}
	return f()
}

// output runs a command of the machine and returns what it prints.
func output(m *lab.Machine, cmd *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := m.Run(cmd); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Path, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.String(), nil
}

func lookUp(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
