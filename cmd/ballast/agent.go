package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/agent"
)

func newAgent(c *cli) *cobra.Command {
	var cfg agent.Config
	var node, file, logCapacity string
	var logJSON, verbose, yes bool
	var settleArchive func() error
	cmd := &cobra.Command{
		Use:   "agent [--data DIR] [--archive URL] [--config FILE]",
		Short: "run this node: volume driver, records, engines, archive",
		Long: `Run this node's agent in the foreground: the Docker volume driver, the volume
records, the engines and the archive. It can stop and start at any time;
attached volumes keep working without it and are taken over by the next agent.

Every option but --config can stand in the configuration file, which is TOML:

  data = "/srv/ballast"
  node = "n1"
  archive = "s3://backups/n1?region=eu-central-1"
  archive-password-file = "/etc/ballast/archive.password"

An option on the command line wins over the environment, and that over the file.
An unknown key is refused.

The credentials of an S3 store come from where its own tools take them, ~/.aws
or the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY): neither they nor
the password can stand in a URL, an option or the configuration file.`,
		Example:           "  ballast agent\n  ballast agent --data /srv/ballast --node n1\n  ballast agent --archive 's3://backups/n1?region=eu-central-1' --archive-password-file /etc/ballast/archive.password\n  ballast agent --config /etc/ballast.toml",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.readEnv(cmd.Flags()); err != nil {
				return err
			}
			if err := readConfig(file, cmd.LocalNonPersistentFlags()); err != nil {
				return err
			}
			if err := settleArchive(); err != nil {
				return err
			}
			cfg.Node = ballast.NodeID(node)
			cfg.Version = buildVersion()
			cfg.Log = newLog(c.stderr, logJSON, verbose)
			if logCapacity != "" {
				n, err := ballast.ParseSize(logCapacity)
				if err != nil {
					return usagef("--log-capacity: %w", err)
				}
				cfg.LogCapacity = n
			}
			cfg.Confirm = func(ctx context.Context, plan string) error { return c.confirmNewCluster(ctx, plan, yes) }
			if err := agent.WithoutProxies(); err != nil {
				return err
			}
			return stopped(cmd.Context(), agent.Run(cmd.Context(), cfg))
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data", agent.DefaultDataDir, "keep everything in `DIR`; the agent's socket is DIR/agent.sock")
	f.StringVar(&node, "node", "", "the `NAME` of this node (default the host name)")
	f.StringVar(&cfg.DockerSocket, "docker-socket", agent.DefaultDockerSocket, "ask the Docker Engine at `PATH` who uses a volume; \"\": ask nobody")
	f.StringVar(&cfg.PluginSocket, "plugin-socket", agent.DefaultPluginSocket, "serve the Docker volume driver at `PATH`; \"\": no driver")
	f.DurationVar(&cfg.TrashKeep, "trash-keep", agent.DefaultTrashKeep, "keep removed volumes for `TIME`")
	f.StringVar(&logCapacity, "log-capacity", "", "let the log of each volume grow to `SIZE` (default the engine's)")
	clusterFlags(f, &cfg)
	f.BoolVar(&yes, "yes", false, "do not ask before a new cluster is begun with --force-new-cluster")
	settleArchive = archiveFlags(f, &cfg)
	f.BoolVar(&logJSON, "log-json", false, "write the log as JSON")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what only a developer wants to know, too")
	f.StringVar(&file, "config", "", "read options from `FILE`")
	return cmd
}

// confirmNewCluster shows what going on from this node's view of the records means, and asks.
func (c *cli) confirmNewCluster(ctx context.Context, plan string, yes bool) error {
	fmt.Fprintln(c.stdout, plan)
	if yes {
		return nil
	}
	return c.confirm(ctx, "Begin a new cluster with that?")
}

// stopped turns the error of a process that was asked to end into success.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// readConfig sets every flag that the file names and the command line does not.
func readConfig(file string, flags *pflag.FlagSet) error {
	if file == "" {
		return nil
	}
	var settings map[string]any
	if _, err := toml.DecodeFile(file, &settings); err != nil {
		return usagef("read configuration %s: %w", file, err)
	}
	for key, value := range settings {
		known := configKeys(flags)
		if !slices.Contains(known, key) {
			return usagef("read configuration %s: unknown key %q%s (known are %s)", file, key, didYouMean(key, known), strings.Join(known, ", "))
		}
		if flags.Changed(key) {
			continue
		}
		if err := flags.Set(key, fmt.Sprint(value)); err != nil {
			return usagef("read configuration %s: %w", file, err)
		}
	}
	return nil
}

// configKeys are the flags that a configuration file may set.
func configKeys(flags *pflag.FlagSet) []string {
	var keys []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" && f.Name != "yes" {
			keys = append(keys, f.Name)
		}
	})
	return keys
}
