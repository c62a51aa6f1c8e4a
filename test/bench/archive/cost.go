package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/postgres"
)

// pgbench works on a volume that is archived and on one that is not, in turn.
func (b *bench) pgbench(ctx context.Context) error {
	classes := []string{"primary", "cache"} // archived, and kept here alone
	servers := map[string]*postgres.Server{}
	for _, class := range classes {
		db, err := b.serve(ctx, class)
		if err != nil {
			return err
		}
		servers[class] = db
	}
	rates := map[string][]float64{}
	for round := range b.rounds {
		for i := range classes {
			class := classes[(round+i)%len(classes)]
			out, err := servers[class].Output(ctx, "pgbench", "-n", "-c", "8", "-j", "8", "-T", strconv.Itoa(b.seconds), "postgres")
			if err != nil {
				return err
			}
			rate, err := transactions(out)
			if err != nil {
				return err
			}
			rates[class] = append(rates[class], rate)
		}
	}
	on, off := median(rates["primary"]), median(rates["cache"])
	b.say("pgbench, 8 clients                 archived %.0f tps, not archived %.0f tps: %.2f of it; agent's memory up to %d MiB", on, off, on/off, b.memory.most())
	return nil
}

func (b *bench) serve(ctx context.Context, class string) (*postgres.Server, error) {
	if _, err := b.m.Ballast(ctx, "volume", "create", class, "--size", "10G", "--class", class); err != nil {
		return nil, err
	}
	folder, err := b.m.Ballast(ctx, "volume", "attach", class)
	if err != nil {
		return nil, err
	}
	db, err := postgres.On(ctx, b.m, class, folder)
	if err != nil {
		return nil, err
	}
	if err := db.Init(ctx); err != nil {
		return nil, err
	}
	if err := db.Start(ctx); err != nil {
		return nil, err
	}
	_, err = db.Output(ctx, "pgbench", "-i", "-q", "-s", "20", "postgres")
	return db, err
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func transactions(text string) (float64, error) {
	found := tps.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("pgbench said no figure: %.200s", text)
	}
	return strconv.ParseFloat(found[1], 64)
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// idle counts what an attached volume that nobody uses asks of the store.
func (b *bench) idle(ctx context.Context) error {
	folder, err := b.fill(ctx, "idle", "1G", 64)
	if err != nil {
		return err
	}
	if _, err := b.m.Output(ctx, "sync", "-f", folder); err != nil {
		return err
	}
	if err := b.settled(ctx); err != nil {
		return err
	}
	before := b.server.Requests()
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.say("idle volume, for a minute          %d requests to the store", b.server.Requests()-before)
	return nil
}

// settled returns when nothing has been added to the store for some looks in a row.
func (b *bench) settled(ctx context.Context) error {
	last, same := -1, 0
	return lab.Poll(ctx, "the archive to be complete", func(context.Context) error {
		n := b.server.Requests()
		if n != last {
			last, same = n, 0
		}
		if same++; same < 400 { // looks, 25 ms apart: twice the archive's interval
			return fmt.Errorf("%d requests so far", n)
		}
		return nil
	})
}
