package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// maxPassword is the most that a password can have, in bytes.
const maxPassword = 4 << 10

func newPasswordFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "new-password-file", "", "read the new password from `FILE` instead of the terminal")
	if err := cmd.MarkFlagFilename("new-password-file"); err != nil {
		panic(err) // the option does not exist: a mistake in this program
	}
}

// newPassword reads a new password from file or, without one, asks twice for it on
// the terminal. It is in no error, no log and no argument (G9).
func (c *cli) newPassword(ctx context.Context, file string) (string, error) {
	if file != "" {
		return passwordFromFile(file)
	}
	tty, err := c.tty()
	if err != nil {
		return "", usagef("there is no terminal to ask for the new password: give --new-password-file")
	}
	defer tty.Close() // nothing is kept in it
	return askNewPassword(ctx, tty)
}

func askNewPassword(ctx context.Context, tty *os.File) (string, error) {
	password, err := readSecret(ctx, tty, "new password: ")
	if err != nil {
		return "", err
	}
	if err := checkPassword(password); err != nil {
		return "", err
	}
	again, err := readSecret(ctx, tty, "the same again: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", usagef("the two passwords differ; nothing was changed")
	}
	return password, nil
}

func passwordFromFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", usagef("read the new password: %w", err)
	}
	defer f.Close() // read-only: nothing to lose
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+2))
	if err != nil {
		return "", fmt.Errorf("read the new password: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	return password, checkPassword(password)
}

// checkPassword refuses what would not come back the same from a password file,
// whoever reads it.
func checkPassword(password string) error {
	why := ""
	switch {
	case password == "":
		why = "it is empty"
	case len(password) > maxPassword:
		why = fmt.Sprintf("it has more than %d bytes", maxPassword)
	case strings.ContainsAny(password, "\r\n\x00"):
		why = "it has more than one line"
	case strings.TrimSpace(password) != password:
		why = "it begins or ends with white space"
	default:
		return nil
	}
	return usagef("the new password cannot be used: %w", errors.New(why))
}
