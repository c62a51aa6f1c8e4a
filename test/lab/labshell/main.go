// Command labshell is a shell on a lab machine, with a Ballast agent and a
// Docker Engine of its own: a place to try and to break things. When the shell
// ends, the machine is gone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := onMachine(ctx, shell); err != nil {
		fmt.Fprintln(os.Stderr, "labshell:", err)
		os.Exit(1)
	}
}

func onMachine(ctx context.Context, f func(context.Context, *lab.Machine) error) (err error) {
	if missing := lab.Missing(); len(missing) > 0 {
		return fmt.Errorf("it needs %s; where that is root, type: sudo make lab", strings.Join(missing, ", "))
	}
	dir, err := os.MkdirTemp("/var/tmp", "ballast-lab-")
	if err != nil {
		return err
	}
	m, err := lab.New(ctx, dir, lab.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, start := range []func(context.Context) error{m.Agent.Start, m.Dockerd.Start} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	if err := m.ImportImage(ctx, "busybox", lab.Busybox()); err != nil {
		return err
	}
	return f(ctx, m)
}

func shell(ctx context.Context, m *lab.Machine) error {
	fmt.Printf("This is a machine of its own. Docker, the image busybox and ballast are there; its logs are in %s.\n"+
		"Try: docker run --rm --volume-driver ballast -v db:/data busybox sh -c 'date >> /data/log; cat /data/log'\n", m.Dir)
	cmd := m.Command(ctx, "sh", "-i")
	cmd.Env = append(cmd.Env, "PS1=lab# ", "TERM="+os.Getenv("TERM"))
	cmd.Dir = m.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		cmd.SysProcAttr.Foreground = true // the terminal is the shell's
	}
	_ = m.Run(cmd) // its exit code is that of the last command typed
	return nil
}
