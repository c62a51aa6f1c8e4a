package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

// serve is `ballast engine`, from this very source.
func serve(args []string) error {
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	dir := flags.String("dir", "", "")
	epoch := flags.Uint64("epoch", 0, "")
	capacity := flags.Int64("log-capacity", 0, "")
	queue := flags.Int64("queue", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return engine.Run(ctx, engine.Config{
		Dir: *dir, Epoch: ballast.Epoch(*epoch), LogCapacity: *capacity, Queue: *queue,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	})
}
