package main

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newArchiveKey(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "list, add, remove and change the passwords of the archive",
		Long: `Manage the passwords of the archive. Each opens all of it: with one that got
out and was removed, what was there until then may have been read already.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(newKeyList(c), newKeyAdd(c), newKeyRm(c), newKeyPasswd(c))
	return cmd
}

func newKeyList(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "list the passwords' keys, without any secret",
		Example:           "  ballast archive key list",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := c.keys(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, toKeysJSON(keys))
			}
			rows := [][]string{{"ID", "CREATED", "BY", "IN USE"}}
			for _, k := range keys {
				rows = append(rows, []string{shortID(k.GetId()), c.clock(k.GetCreatedAt()), k.GetUser() + "@" + k.GetHost(), yesNo(k.GetCurrent())})
			}
			return table(c.stdout, rows)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (c *cli) keys(ctx context.Context) ([]*ballastv1.Key, error) {
	res, err := ask(ctx, doLimit, c.agent().archive.ListKeys, &ballastv1.ListKeysRequest{})
	return res.GetKeys(), err
}

func newKeyAdd(c *cli) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add [--new-password-file FILE]",
		Short: "let another password open the archive, too",
		Long: `Let another password open the archive, too. It is asked for on the terminal, or
read from a file; it is never an argument, which everybody on the machine could
read.`,
		Example:           "  ballast archive key add\n  ballast archive key add --new-password-file /root/second.password",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := c.addKey(cmd.Context(), file)
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, toKeyJSON(key))
			}
			_, err = fmt.Fprintf(c.stdout, "%s  the password opens the archive from now on\n", shortID(key.GetId()))
			return err
		},
	}
	newPasswordFlag(cmd, &file)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// addKey asks for a password and has the agent add it.
func (c *cli) addKey(ctx context.Context, file string) (*ballastv1.Key, error) {
	password, err := c.newPassword(ctx, file)
	if err != nil {
		return nil, err
	}
	res, err := ask(ctx, doLimit, c.agent().archive.AddKey, &ballastv1.AddKeyRequest{Password: []byte(password)})
	return res.GetKey(), err
}

func newKeyRm(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rm ID",
		Short: "end a password; the one in use cannot be removed",
		Long: `End a password. The one that the agent opened the archive with cannot be
removed: change it with "ballast archive key passwd".`,
		Example:           "  ballast archive key list\n  ballast archive key rm 5e01c2a4",
		Args:              operands("ID"),
		ValidArgsFunction: c.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := c.keyID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if _, err := ask(cmd.Context(), doLimit, c.agent().archive.RemoveKey, &ballastv1.RemoveKeyRequest{Id: id}); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.stdout, map[string]string{"removed": id})
			}
			_, err = fmt.Fprintf(c.stdout, "%s opens the archive no more\n", shortID(id))
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// keyID returns the one key that a short id means.
func (c *cli) keyID(ctx context.Context, short string) (string, error) {
	keys, err := c.keys(ctx)
	if err != nil {
		return "", err
	}
	var matches, ids []string
	for _, k := range keys {
		ids = append(ids, shortID(k.GetId()))
		if short != "" && len(short) <= len(k.GetId()) && k.GetId()[:len(short)] == short {
			matches = append(matches, k.GetId())
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return "", &failure{exitNotFound, fmt.Errorf("no key %q%s", short, didYouMean(short, ids)), `try "ballast archive key list"`}
	}
	return "", usagef("%q is the beginning of %s: give more of it", short, count(len(matches), "key"))
}

func (c *cli) completeKeys(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	res, err := c.agent().archive.ListKeys(ctx, connect.NewRequest(&ballastv1.ListKeysRequest{}))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, k := range res.Msg.GetKeys() {
		ids = append(ids, shortID(k.GetId()))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

type keysJSON struct {
	Keys []keyJSON `json:"keys"`
}

type keyJSON struct {
	ID        string     `json:"id"`
	CreatedAt *time.Time `json:"created_at"`
	User      string     `json:"user"`
	Host      string     `json:"host"`
	Current   bool       `json:"current"`
}

func toKeysJSON(keys []*ballastv1.Key) keysJSON {
	all := keysJSON{Keys: []keyJSON{}}
	for _, k := range keys {
		all.Keys = append(all.Keys, toKeyJSON(k))
	}
	return all
}

func toKeyJSON(k *ballastv1.Key) keyJSON {
	return keyJSON{k.GetId(), toTime(k.GetCreatedAt()), k.GetUser(), k.GetHost(), k.GetCurrent()}
}
