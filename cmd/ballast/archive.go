package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newArchive(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "look after the archive: status, checks, passwords",
		Long: `Look after the archive of this node: where it is, whether it is whole, who can
open it. Where it is is said when the agent is started: "ballast help agent".`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(
		newArchiveInit(c),
		newArchiveStatus(c),
		newArchiveCheck(c),
		newArchivePrune(c),
		newArchiveKey(c),
	)
	return cmd
}

func newArchiveInit(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make the archive that the agent was started with",
		Long: `Make the archive that the agent was started with, sealed with the password it
was started with. An archive that exists is refused, and not touched.

Whoever has lost the password has lost the archive: keep a copy of it elsewhere
than on this machine.`,
		Example:           "  ballast archive init",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := ask(cmd.Context(), doLimit, c.agent().archive.Init, &ballastv1.InitArchiveRequest{})
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, initJSON{res.GetUrl(), res.GetRepositoryId(), res.GetPasswordFile()})
			}
			return c.printInit(res)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) printInit(res *ballastv1.InitArchiveResponse) error {
	_, err := fmt.Fprintf(c.stdout, "the archive %s is made (repository %s)\n", res.GetUrl(), shortID(res.GetRepositoryId()))
	if file := res.GetPasswordFile(); file != "" {
		fmt.Fprintf(c.stdout, "its password was made, too: %s\n", file)
	}
	fmt.Fprintln(c.stdout, "keep a copy of its password elsewhere: without it nothing can be brought back")
	return err
}

type initJSON struct {
	URL          string `json:"url"`
	RepositoryID string `json:"repository_id"`
	PasswordFile string `json:"password_file"` // empty unless one was made
}
