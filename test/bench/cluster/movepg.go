package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/postgres"
)

// moveDatabase moves a volume on which PostgreSQL was busy to the moment: it is stopped, the
// volume goes over, and it is started there. What ballast adds to the stop and the start is
// the pause; how long clients wait in all is said beside it.
func (b *bench) moveDatabase(ctx context.Context) error {
	if lacks := postgres.Missing(); lacks != "" {
		fmt.Fprintf(b.w, "  left out: a move under pgbench needs %s\n", lacks)
		return nil
	}
	primary, mountpoint, err := b.volume(ctx, "2G")
	if err != nil {
		return err
	}
	db, err := postgres.On(ctx, primary.Machine, primary.Name, mountpoint)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Init(ctx), db.Start(ctx)); err != nil {
		return err
	}
	if _, err := db.Output(ctx, "pgbench", "-i", "-q", "-s", "5", "postgres"); err != nil {
		return err
	}
	var pauses, waits []float64
	for i := range b.moves {
		other, err := b.awaitCopy(ctx, primary)
		if err != nil {
			return err
		}
		if _, err := db.Output(ctx, "pgbench", "-n", "-c", "8", "-j", "2", "-T", "5", "postgres"); err != nil {
			return err
		}
		pause, wait, next, err := b.moveDatabaseOnce(ctx, db, primary, other)
		if err != nil {
			return fmt.Errorf("move a database from %s to %s: %w", primary.Name, other.Name, err)
		}
		pauses, waits = append(pauses, pause), append(waits, wait)
		fmt.Fprintf(b.w, "  %d/%d  PostgreSQL from %s to %s: a pause of %.0f ms; with its stop and start %.0f ms\n", i+1, b.moves, primary.Name, other.Name, 1000*pause, 1000*wait)
		primary, db = other, next
	}
	b.r.atMost(fmt.Sprintf("move of a busy PostgreSQL, greatest pause of %d", len(pauses)), "s", percentile(pauses, 100), 1, pauses...)
	b.r.atMost("the same with PostgreSQL's stop and start", "s", percentile(waits, 100), 0, waits...)
	return nil
}

func (b *bench) moveDatabaseOnce(ctx context.Context, db *postgres.Server, from, to *lab.Node) (pause, wait float64, next *postgres.Server, err error) {
	began := time.Now()
	if err := errors.Join(db.Stop(), db.Off(ctx)); err != nil {
		return 0, 0, nil, err
	}
	stopped := time.Now()
	_, mountpoint, err := b.moveOnce(ctx, from, to)
	if err != nil {
		return 0, 0, nil, err
	}
	pause = time.Since(stopped).Seconds()
	if next, err = postgres.On(ctx, to.Machine, to.Name, mountpoint); err != nil {
		return 0, 0, nil, err
	}
	if err := next.Start(ctx); err != nil {
		return 0, 0, nil, err
	}
	_, err = next.Query(ctx, "INSERT INTO pgbench_history (tid) VALUES (1)")
	return pause, time.Since(began).Seconds(), next, err
}
