package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newRecover(c *cli) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "recover [URL] [--dry-run]",
		Short: "bring back every volume of the archive that this node does not have",
		Long: `Bring back every volume of the archive that this node does not have, to the
newest point of each. They can be used at once and fill in behind. Volumes that
are here already are left as they are, so typing it again is safe.

It is the agent that does it, out of the archive that it was started with. With
URL the command makes sure that this is the one that is meant, and says how to
start the agent where it is not.

A node that recovers a volume takes it over: what another one that still runs
writes to its own copy is not part of the history any more.`,
		Example:           "  ballast recover --dry-run\n  ballast recover 's3://backups/n1?region=eu-central-1'",
		Args:              optional,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.isArchive(cmd, args); err != nil {
				return err
			}
			return c.recover(cmd, dryRun, asJSON)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be brought back and change nothing")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// isArchive makes sure that an agent runs and that it has the archive that is
// meant, and says what to type where not.
func (c *cli) isArchive(cmd *cobra.Command, meant []string) error {
	archive := "URL"
	if len(meant) == 1 {
		archive = meant[0]
		if err := checkArchiveURL(archive); err != nil {
			return err
		}
	}
	s, err := ask(cmd.Context(), askLimit, c.agent().archive.Status, &ballastv1.ArchiveStatusRequest{})
	if f, ok := errors.AsType[*failure](err); ok && f.code == exitNoAgent {
		return &failure{exitNoAgent, f.err, "recovering is the work of an agent that was started with the archive:\n" + howToStart(archive)}
	}
	if err != nil {
		return err
	}
	if len(meant) == 1 && !sameArchive(archive, s.GetUrl()) {
		return &failure{
			exitRefused, fmt.Errorf("the agent of this node has another archive: %s", or(s.GetUrl(), "none")),
			"stop it (\"systemctl stop ballast\") and start it with the archive that is meant:\n" + howToStart(archive),
		}
	}
	return nil
}

// howToStart is what to type to get an agent with an archive.
func howToStart(archive string) string {
	if archive != "URL" {
		archive = "'" + archive + "'"
	}
	return `  umask 077; cat > /etc/ballast/archive.password      (the archive's password, Enter, Ctrl-D)
  export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…  (for s3://)
  ballast agent --archive ` + archive + ` --archive-password-file /etc/ballast/archive.password
then, beside it, type again: ballast recover`
}

// checkArchiveURL refuses what no agent would take. A password in a URL is not
// repeated: it would be in the screen's history twice.
func checkArchiveURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "" || strings.ContainsRune(s, '\''):
		return usagef("that is no URL of an archive: give s3://BUCKET/PREFIX?endpoint=… or file:///DIR")
	case u.User != nil:
		return usagef("an archive's URL holds no user and no password: put them into the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
	}
	return nil
}

// sameArchive says whether two URLs name the same place, however they are written.
func sameArchive(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return x.Scheme == y.Scheme && x.Host == y.Host && strings.Trim(x.Path, "/") == strings.Trim(y.Path, "/") &&
		x.Query().Encode() == y.Query().Encode()
}

func (c *cli) recover(cmd *cobra.Command, dryRun, asJSON bool) error {
	var results []*ballastv1.RecoverResult
	err := follow(cmd.Context(), c, "what is back stays; the same command again goes on with the rest",
		c.agent().archive.Recover, &ballastv1.RecoverRequest{DryRun: dryRun},
		func(m *ballastv1.RecoverResponse, stdout io.Writer) {
			if r := m.GetResult(); r != nil {
				results = append(results, r)
				if !asJSON {
					fmt.Fprintln(stdout, c.recovered(r, dryRun))
				}
			}
		})
	if asJSON {
		err = firstError(err, writeJSON(c.stdout, toRecoverJSON(results, dryRun)))
	}
	if err != nil {
		return err
	}
	return c.recoverVerdict(results, dryRun, asJSON)
}

// recovered says in a line what became of a volume.
func (c *cli) recovered(r *ballastv1.RecoverResult, dryRun bool) string {
	switch {
	case r.GetError() != "":
		return fmt.Sprintf("! %s: %s", r.GetName(), r.GetError())
	case r.GetExisted():
		return r.GetName() + " is here already: left as it is"
	case dryRun:
		return fmt.Sprintf("%s would be brought back as it was at %s", r.GetName(), c.clockAgo(r.GetPoint().GetTime()))
	}
	return fmt.Sprintf("%s is back as it was at %s", r.GetName(), c.clockAgo(r.GetPoint().GetTime()))
}

func (c *cli) recoverVerdict(results []*ballastv1.RecoverResult, dryRun, asJSON bool) error {
	failed, back := 0, 0
	for _, r := range results {
		switch {
		case r.GetError() != "":
			failed++
		case !r.GetExisted():
			back++
		}
	}
	if !asJSON {
		switch {
		case len(results) == 0:
			fmt.Fprintln(c.stdout, "the archive has no volumes")
		case back > 0 && !dryRun:
			fmt.Fprintf(c.stdout, "\n%s can be used now and fill in behind: ballast volume ls\n", count(back, "volume"))
		}
	}
	if failed > 0 {
		return &failure{exitFailed, fmt.Errorf("%d of %s could not be brought back", failed, count(len(results), "volume")),
			"the others are; the same command again tries those once more"}
	}
	return nil
}

type recoverJSON struct {
	Volumes []recoveredJSON `json:"volumes"`
	DryRun  bool            `json:"dry_run"`
}

type recoveredJSON struct {
	Name    string     `json:"name"`
	Point   *pointJSON `json:"point"`
	Error   string     `json:"error"`
	Existed bool       `json:"existed"`
}

func toRecoverJSON(results []*ballastv1.RecoverResult, dryRun bool) recoverJSON {
	all := recoverJSON{Volumes: []recoveredJSON{}, DryRun: dryRun}
	for _, r := range results {
		all.Volumes = append(all.Volumes, recoveredJSON{r.GetName(), toPointJSON(r.GetPoint()), r.GetError(), r.GetExisted()})
	}
	return all
}
