package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newArchiveCheck(c *cli) *cobra.Command {
	var readData, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--read-data]",
		Short: "verify that everything in the archive is there and whole",
		Long: `Verify that everything that the archive needs is there and fits together. With
--read-data every byte is fetched and verified, too, which a store may charge
for. It changes nothing, and archiving goes on. It exits with 6 when it found a
problem.`,
		Example:           "  ballast archive check\n  ballast archive check --read-data",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.checkArchive(cmd, readData, asJSON)
		},
	}
	cmd.Flags().BoolVar(&readData, "read-data", false, "fetch and verify every byte")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) checkArchive(cmd *cobra.Command, readData, asJSON bool) error {
	found := archiveCheckJSON{Problems: []string{}, ReadData: readData}
	err := follow(cmd.Context(), c, "nothing was changed; the same command again begins anew",
		c.agent().archive.Check, &ballastv1.CheckArchiveRequest{ReadData: readData},
		func(m *ballastv1.CheckArchiveResponse, stdout io.Writer) {
			if m.GetProblem() != "" {
				found.Problems = append(found.Problems, m.GetProblem())
				if !asJSON {
					fmt.Fprintf(stdout, "! %s\n", m.GetProblem())
				}
			}
			if m.GetDone() {
				found.Done, found.Count = true, max(m.GetProblems(), uint32(len(found.Problems)))
			}
		})
	switch {
	case err != nil:
		return err
	case !found.Done:
		return errUnsaid
	case asJSON:
		err = writeJSON(c.stdout, found)
	default:
		err = c.printArchiveCheck(found)
	}
	if err == nil && found.Count > 0 {
		return errFound
	}
	return err
}

func (c *cli) printArchiveCheck(found archiveCheckJSON) error {
	looked := "everything is there; what is in it was not read (--read-data)"
	if found.ReadData {
		looked = "everything is there and every byte is what it was"
	}
	if found.Count > 0 {
		looked = fmt.Sprintf("%s: what can still be restored says \"ballast volume history NAME\";\na new snapshot repairs what is still on this node: ballast volume snapshot NAME", count(found.Count, "problem"))
	}
	_, err := fmt.Fprintln(c.stdout, looked)
	return err
}

type archiveCheckJSON struct {
	Problems []string `json:"problems"`
	Count    uint32   `json:"count"`
	ReadData bool     `json:"read_data"`
	Done     bool     `json:"-"`
}
