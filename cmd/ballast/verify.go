package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVerify(c *cli) *cobra.Command {
	var command string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [NAME] [--command COMMAND]",
		Short: "restore volumes somewhere else and see whether they are whole",
		Long: `Restore a volume, or each that is archived, somewhere else and see whether it is
whole: every byte against its checksum, the filesystem with its own checker and,
with --command, whatever you ask of it. What was restored is removed afterwards;
the volume itself is not touched and can be in use.

COMMAND is run by a shell, by the agent and so as root, with the restored
filesystem's root folder as its working folder; it fails the verification when
it exits with anything but 0.

It exits with 6 when a volume is not whole. On a schedule: ballast agent
--verify-every 168h.`,
		Example:           "  ballast verify\n  ballast verify db --command 'test -s PG_VERSION'",
		Args:              optional,
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.verify(cmd, &ballastv1.VerifyRequest{Name: strings.Join(args, ""), Command: command}, asJSON)
		},
	}
	cmd.Flags().StringVar(&command, "command", "", "run `COMMAND` in the restored filesystem, too")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) verify(cmd *cobra.Command, req *ballastv1.VerifyRequest, asJSON bool) error {
	var results []*ballastv1.VerifyResult
	err := follow(cmd.Context(), c, "what was restored to be verified is removed; the same command again begins anew",
		c.agent().volumes.Verify, req, func(m *ballastv1.VerifyResponse, stdout io.Writer) {
			if r := m.GetResult(); r != nil {
				results = append(results, r)
				if !asJSON {
					c.printVerified(stdout, r)
				}
			}
		})
	if err != nil && req.GetName() != "" {
		err = c.explainHistory(cmd.Context(), req.GetName(), err)
	}
	if asJSON {
		err = firstError(err, writeJSON(c.stdout, toVerifyJSON(results)))
	}
	if err != nil {
		return err
	}
	return c.verifyVerdict(results, asJSON)
}

func (c *cli) verifyVerdict(results []*ballastv1.VerifyResult, asJSON bool) error {
	if len(results) == 0 && !asJSON {
		return &failure{exitFailed, errors.New("no volume was verified: none is in the archive yet"), `"ballast status" says why`}
	}
	for _, r := range results {
		if !r.GetOk() {
			return errFound
		}
	}
	return nil
}

// printVerified says what was found, and shows what the user's command said.
func (c *cli) printVerified(w io.Writer, r *ballastv1.VerifyResult) {
	volume := r.GetName()
	if isSet(r.GetPoint().GetTime()) {
		volume += " as it was at " + c.clock(r.GetPoint().GetTime())
	}
	if r.GetOk() {
		took := time.Duration(r.GetSeconds() * float64(time.Second))
		fmt.Fprintf(w, "%s is whole: %s in %s\n", volume, size(r.GetBytes()), span(max(time.Second, took)))
	} else {
		fmt.Fprintf(w, "! %s is not whole: %s\n  to do:   ballast volume history %s\n", volume, r.GetError(), r.GetName())
	}
	for line := range strings.Lines(r.GetCommandOutput()) {
		fmt.Fprintf(w, "  | %s\n", strings.TrimRight(line, "\r\n"))
	}
}

type verifyJSON struct {
	Volumes []verifiedJSON `json:"volumes"`
}

type verifiedJSON struct {
	Name          string     `json:"name"`
	Point         *pointJSON `json:"point"`
	OK            bool       `json:"ok"`
	Error         string     `json:"error"`
	Bytes         uint64     `json:"bytes"`
	Seconds       float64    `json:"seconds"`
	CommandOutput string     `json:"command_output"`
}

func toVerifyJSON(results []*ballastv1.VerifyResult) verifyJSON {
	all := verifyJSON{Volumes: []verifiedJSON{}}
	for _, r := range results {
		all.Volumes = append(all.Volumes, verifiedJSON{
			r.GetName(), toPointJSON(r.GetPoint()), r.GetOk(), r.GetError(), r.GetBytes(), r.GetSeconds(), r.GetCommandOutput(),
		})
	}
	return all
}
