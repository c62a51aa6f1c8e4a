package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newKeyPasswd(c *cli) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "passwd [--new-password-file FILE]",
		Short: "change the password that the agent opens the archive with",
		Long: `Change the password that the agent opens the archive with: the new one is
added, and the command says how to let the agent use it and end the old one.
Both open the archive until then, so that nothing locks you out half way.`,
		Example:           "  ballast archive key passwd",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			old, err := c.currentKey(cmd.Context())
			if err != nil {
				return err
			}
			key, err := c.addKey(cmd.Context(), file)
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, passwdJSON{toKeyJSON(key), old.GetId()})
			}
			return c.printPasswd(cmd.Context(), old)
		},
	}
	newPasswordFlag(cmd, &file)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) currentKey(ctx context.Context) (*ballastv1.Key, error) {
	keys, err := c.keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.GetCurrent() {
			return k, nil
		}
	}
	return nil, errors.New("change the archive's password: the agent does not say which key it uses; add one instead: ballast archive key add")
}

// printPasswd says what is left to do, with the agent's own file where it has one.
func (c *cli) printPasswd(ctx context.Context, old *ballastv1.Key) error {
	file := "the agent's password file"
	if s, err := ask(ctx, askLimit, c.agent().archive.Status, &ballastv1.ArchiveStatusRequest{}); err == nil {
		file = or(s.GetPasswordFile(), "what the agent's --archive-password-command prints")
	}
	_, err := fmt.Fprintf(c.stdout, `the new password opens the archive; so does the old one, which the agent still uses. Now
  1. put the new password into %s
  2. start the agent anew: systemctl restart ballast   (attached volumes keep working)
  3. end the old one: ballast archive key rm %s
`, file, shortID(old.GetId()))
	return err
}

type passwdJSON struct {
	Key keyJSON `json:"key"`
	Old string  `json:"old"` // to be removed once the agent uses the new one
}
