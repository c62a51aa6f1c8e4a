package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if done, err := actAs(os.Args); done {
		exit(err)
	}
	var opts options
	flag.IntVar(&opts.cuts, "n", 20, "cut the power so `often`")
	flag.Uint64Var(&opts.seed, "seed", uint64(time.Now().UnixNano()), "repeat the choices of an earlier run")
	flag.IntVar(&opts.machines, "machines", 2, "how many machines run side by side")
	flag.Parse()
	if missing := missing(); len(missing) > 0 {
		exit(fmt.Errorf("cut the power: this machine has no %s", strings.Join(missing, ", no ")))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("Cutting the power of %d machines %d times in all, seed %d.\n", opts.machines, opts.cuts, opts.seed)
	opts.progress = os.Stdout
	t, err := run(ctx, opts)
	t.print(os.Stdout)
	if err == nil && len(t.wrong) > 0 {
		err = errors.New("an acknowledgement did not hold")
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// actAs plays the part that the arguments ask for, if it is not the outside.
func actAs(args []string) (done bool, err error) {
	if len(args) < 2 {
		return false, nil
	}
	switch args[1] {
	case "guest":
		return true, guest(args[2:])
	case "engine":
		return true, serve(args[2:])
	default:
		return false, nil
	}
}
