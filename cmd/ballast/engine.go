package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

// newEngine is the command that the agent starts for every attached volume.
// Nobody else does: it is not listed.
func newEngine(c *cli) *cobra.Command {
	var cfg engine.Config
	var epoch uint64
	var node string
	cmd := &cobra.Command{
		Use:    "engine --dir DIR --epoch N",
		Short:  "serve one volume; the agent starts this",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Ctrl-C is not for an engine: only SIGTERM, and Run takes that its own way.
			ctx, stop := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
			defer stop()
			signal.Ignore(os.Interrupt, syscall.SIGHUP)
			cfg.Epoch, cfg.Node = ballast.Epoch(epoch), ballast.NodeID(node)
			cfg.Log = slog.New(slog.NewJSONHandler(c.stderr, nil))
			return engine.Run(ctx, cfg)
		},
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "the volume's `DIR`")
	cmd.Flags().Uint64Var(&epoch, "epoch", 0, "the volume's epoch `N`, higher than ever before")
	cmd.Flags().Int64Var(&cfg.LogCapacity, "log-capacity", 0, "`BYTES` of disk for the log; 0: the default")
	cmd.Flags().Int64Var(&cfg.Queue, "queue", 0, "`BYTES` of the log to keep for the archive")
	cmd.Flags().StringVar(&cfg.Agent, "agent", "", "`SOCKET` of the agent, to ask for missing chunks and changes of the record")
	cmd.Flags().StringVar(&node, "node", "", "`NAME` of this node")
	cmd.Flags().StringVar(&cfg.Lease, "lease", "", "`FILE` of the node's lease")
	cmd.Flags().StringVar(&cfg.Identity, "identity", "", "`DIR` of who this node is to others")
	cmd.Flags().DurationVar(&cfg.Settle, "settle", 0, "how long the end waits for other copies; 0: the default")
	for _, name := range []string{"dir", "epoch"} {
		_ = cmd.MarkFlagRequired(name) // it was defined above
	}
	return cmd
}
