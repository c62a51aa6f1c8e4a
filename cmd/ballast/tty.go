package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A question goes to the terminal itself, not to the standard streams: those may be
// files, and an answer that comes from a pipe is nobody's.

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 4 << 10

// openTTY opens the terminal of this process. It fails where there is none, as in
// a job of cron's or of systemd's.
func openTTY() (*os.File, error) {
	return os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
}

// columns is the width of the terminal that the standard error stream is; 0 when
// it is none.
func columns() int {
	size, err := unix.IoctlGetWinsize(unix.Stderr, unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return 0
	case size.Col == 0: // a terminal that does not say
		return 80
	}
	return int(size.Col)
}

// confirm asks a person whether to go on. Without a terminal it is an error that
// names the option that stands for yes.
func (c *cli) confirm(ctx context.Context, question string) error {
	tty, err := c.tty()
	if err != nil {
		return usagef("there is no terminal to ask on; to go on without being asked: --yes")
	}
	defer tty.Close() // nothing is kept in it
	answer, err := readAnswer(ctx, tty, question+" [y/N] ")
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &failure{exitRefused, errors.New("not confirmed; nothing was changed"), ""}
	}
	return nil
}

// readSecret asks for a secret and does not show what is typed.
func readSecret(ctx context.Context, tty *os.File, question string) (_ string, err error) {
	show, err := hideTyping(tty)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	defer func() {
		err = errors.Join(err, show())
		fmt.Fprintln(tty) // the Enter that was not shown
	}()
	return readAnswer(ctx, tty, question)
}

// hideTyping switches the echo of a terminal off; show switches it back.
func hideTyping(tty *os.File) (show func() error, err error) {
	before, err := termios(tty, nil)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	if _, err := termios(tty, &hidden); err != nil {
		return nil, err
	}
	return func() error {
		_, err := termios(tty, before)
		return err
	}, nil
}

// termios changes the settings of a terminal, and returns what they were.
func termios(tty *os.File, to *unix.Termios) (was *unix.Termios, err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		if was, inner = unix.IoctlGetTermios(int(fd), unix.TCGETS); inner == nil && to != nil {
			inner = unix.IoctlSetTermios(int(fd), unix.TCSETS, to)
		}
	})
	return was, errors.Join(err, inner)
}

// readAnswer asks and reads one line, until ctx ends.
func readAnswer(ctx context.Context, tty *os.File, question string) (string, error) {
	if _, err := fmt.Fprint(tty, question); err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = tty.SetReadDeadline(time.Unix(1, 0)) // where it cannot be set, Enter ends the question
	})
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(tty, maxAnswer)).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
