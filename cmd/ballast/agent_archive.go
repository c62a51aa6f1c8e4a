package main

import (
	"github.com/spf13/pflag"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/agent"
)

// archiveFlags declares the options that say where this node archives to and how.
// The returned function moves into cfg what needs a look first.
func archiveFlags(f *pflag.FlagSet, cfg *agent.Config) (settle func() error) {
	var queue string
	f.StringVar(&cfg.Archive, "archive", "", "archive to `URL`: s3://BUCKET/PREFIX?endpoint=…, file:///DIR, or none (default $BALLAST_ARCHIVE, else the folder \"archive\" in --data)")
	f.StringVar(&cfg.ArchivePasswordFile, "archive-password-file", "", "read the archive's password from `FILE` (default $BALLAST_ARCHIVE_PASSWORD_FILE; an archive in --data makes its own)")
	f.StringVar(&cfg.ArchivePasswordCommand, "archive-password-command", "", "run `COMMAND` and read the password from its output (default $BALLAST_ARCHIVE_PASSWORD_COMMAND)")
	f.DurationVar(&cfg.ArchiveInterval, "archive-interval", agent.DefaultArchiveInterval, "archive what was written every `TIME`")
	f.StringVar(&queue, "archive-queue", "", "while the archive is away, keep up to `SIZE` per volume for it (default 1GiB)")
	f.StringVar(&cfg.Keep, "keep", agent.DefaultKeep, "keep history by `POLICY`, for volumes that do not say it themselves")
	f.DurationVar(&cfg.VerifyEvery, "verify-every", 0, "verify every archived volume every `TIME`; 0: only when asked")
	return func() error {
		if cfg.ArchivePasswordFile != "" && cfg.ArchivePasswordCommand != "" {
			return usagef("the archive's password comes from a file or from a command: give one of --archive-password-file and --archive-password-command")
		}
		if queue == "" {
			return nil
		}
		n, err := ballast.ParseSize(queue)
		if err != nil {
			return usagef("--archive-queue: %w", err)
		}
		cfg.ArchiveQueue = n
		return nil
	}
}

// archiveEnv are the options of the agent that the environment can give, too.
var archiveEnv = []struct{ flag, variable string }{
	{"archive", "BALLAST_ARCHIVE"},
	{"archive-password-file", "BALLAST_ARCHIVE_PASSWORD_FILE"},
	{"archive-password-command", "BALLAST_ARCHIVE_PASSWORD_COMMAND"},
}

// readEnv sets every flag that the environment gives and the command line does
// not. One way to say the password replaces the other: a command line that names a
// file must not fail over a command in the environment.
func (c *cli) readEnv(flags *pflag.FlagSet) error {
	said := flags.Changed("archive-password-file") || flags.Changed("archive-password-command")
	for _, e := range archiveEnv {
		value := c.getenv(e.variable)
		if value == "" || flags.Changed(e.flag) || said && e.flag != "archive" {
			continue
		}
		if err := flags.Set(e.flag, value); err != nil {
			return usagef("%s: %w", e.variable, err)
		}
	}
	return nil
}
