package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/lab"
)

// shell reads commands and carries them out on a cluster.
type shell struct {
	c   *lab.Cluster
	in  *os.File // given to what runs on the nodes, too
	out io.Writer
}

func (s *shell) greet(apart bool) {
	fmt.Fprintf(s.out, `%d machines, n1 to n%[1]d, that reach each other and nobody else; logs and data are in %s.
  n1 COMMAND             run a command on a node; "n1" alone is a shell there
  cut n1 n2              nothing gets through between them; "heal" ends all that is wrong
  kill n1, on n1         power off, and on again
  help, exit             everything else; end all of it

`, len(s.c.Nodes), s.c.Dir)
	fmt.Fprintln(s.out, tryThis(apart))
}

// tryThis is what to type first.
func tryThis(apart bool) string {
	if apart {
		return `No agent runs yet. To make a cluster by hand:
  start-agent n1
  n1 ballast token create
  start-agent n2
  n2 ballast join …      # the line that n1 printed`
	}
	return `What becomes of a volume whose machine dies:
  n1 ballast node ls
  n1 ballast volume create db
  n1 cd "$(ballast volume attach db)" && echo hello > greeting && sync greeting
  n1 ballast volume inspect db
  kill n1
  n2 cat "$(ballast volume attach db)/greeting"     # waits until the lease of n1 is over
  n2 ballast volume inspect db
  on n1`
}

// run carries out commands until there are no more.
func (s *shell) run(ctx context.Context) error {
	for {
		if s.interactive() {
			fmt.Fprint(s.out, "lab# ")
		}
		line, err := s.readLine()
		if err != nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the end of the input is how it ends
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "exit" || words[0] == "quit":
			return nil
		default:
			if err := s.do(ctx, line, words); err != nil {
				fmt.Fprintln(s.out, err)
			}
		}
	}
}

// readLine reads no more than a line: the rest is for the programs that the line starts.
func (s *shell) readLine() (string, error) {
	const longest = 64 << 10
	var line []byte
	for b := make([]byte, 1); len(line) < longest; {
		n, err := s.in.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[:n]...)
		if err != nil {
			if len(line) > 0 && errors.Is(err, io.EOF) {
				return string(line), nil
			}
			return "", err
		}
	}
	return "", errors.New("a line without an end")
}

func (s *shell) interactive() bool {
	_, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS)
	return err == nil
}

// do carries out one command.
func (s *shell) do(ctx context.Context, line string, words []string) error {
	if n := s.c.Node(words[0]); n != nil {
		return s.onNode(ctx, n, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), words[0])))
	}
	for _, c := range commands() {
		if c.name == words[0] {
			if err := c.run(ctx, s, words[1:]); err != nil {
				return fmt.Errorf("%w\nusage: %s %s", err, c.name, c.args)
			}
			return nil
		}
	}
	return fmt.Errorf("no command and no node is called %q: type help", words[0])
}

// onNode runs a line of shell on a node, or a shell when there is none.
func (s *shell) onNode(ctx context.Context, n *lab.Node, line string) error {
	args := []string{"-c", line}
	if line == "" {
		args = []string{"-i"}
	}
	cmd := n.Command(ctx, "sh", args...)
	cmd.Env = append(cmd.Env, "PS1="+n.Name+"# ", "TERM="+os.Getenv("TERM"))
	cmd.Dir = n.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.out
	if s.interactive() {
		cmd.SysProcAttr.Foreground = true // the terminal is the program's
		cmd.SysProcAttr.Ctty = int(s.in.Fd())
		defer s.takeTerminal()
	}
	err := n.Start(cmd)
	if err != nil {
		return err
	}
	_ = cmd.Wait() // it has said itself what was wrong
	return nil
}

// takeTerminal makes the terminal this program's again. Who takes it from behind is
// stopped for that, unless the signal is ignored.
func (s *shell) takeTerminal() {
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(s.in.Fd()), unix.TIOCSPGRP, unix.Getpgrp()) // else the next read ends the program
}
