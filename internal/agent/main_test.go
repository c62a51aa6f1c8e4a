package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/test/inmemory"
)

// TestMain is also the agent and the engine that tests start as processes of
// their own: this binary, with the arguments that the real one takes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "engine" || os.Args[1] == "agent" || os.Args[1] == nodeAgent) {
		if err := runAs(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := errors.Join(beSpared(), clustersAtOnce(), inmemory.Use()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}

// beSpared gives this process a name that an agent spares when it ends who uses a volume that was
// taken from it: a test that has a file of such a volume open is to fail, and not to end all the others.
func beSpared() error { return os.WriteFile("/proc/self/comm", []byte("ballast"), 0) }

// clustersAtOnce lets more tests run at once than there are processors, unless the command line says
// how many: those that run at once are clusters of processes, which mostly wait, for an election or
// for the end of a lease.
func clustersAtOnce() error {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
}

func runAs(what string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if what == nodeAgent {
		return runNodeAgent(ctx, args, log)
	}
	if what == "agent" {
		cfg := Config{DataDir: args[0], Node: "n1", TrashKeep: time.Hour, LogCapacity: 256 << 20, ArchiveInterval: time.Second, Log: log}
		if len(args) > 1 {
			cfg.Archive, cfg.ArchivePasswordFile = args[1], args[2]
		}
		return Run(ctx, cfg)
	}
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	epoch, err := strconv.ParseUint(flags["--epoch"], 10, 64)
	if err != nil {
		return err
	}
	capacity, err := strconv.ParseInt(flags["--log-capacity"], 10, 64)
	if err != nil {
		return err
	}
	queue, err := strconv.ParseInt(flags["--queue"], 10, 64)
	if err != nil {
		return err
	}
	return engine.Run(ctx, engine.Config{
		Dir: flags["--dir"], Epoch: ballast.Epoch(epoch), LogCapacity: capacity, Queue: queue, Agent: flags["--agent"], Log: log,
		Node: ballast.NodeID(flags["--node"]), Lease: flags["--lease"], Identity: flags["--identity"],
	})
}
