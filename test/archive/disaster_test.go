package archive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/postgres"
)

// interval is the default of archive_interval.
const interval = 5 * time.Second

// TestSiteLost loses a machine and everything on it while PostgreSQL works. On a new
// one, `ballast recover` brings the database back, with all commits but those of
// the last moments, and without a hole (B5, G5). Who commits stands outside, and
// keeps the time.
func TestSiteLost(t *testing.T) {
	t.Parallel()
	requirePostgres(t)
	site := newSite(t)
	first, _ := site.machine(t)
	ballast(t, first, "archive", "init")
	ballast(t, first, "volume", "create", "db", "--size", "2G")
	db := database(t, first, "db")
	must(t, db.Init(t.Context()))
	must(t, db.Start(t.Context()))
	query(t, db, "CREATE TABLE paid (n bigint PRIMARY KEY)")
	_, err := db.Output(t.Context(), "pgbench", "-i", "-q", "-s", "5", "postgres")
	must(t, err)
	start(t, first, db.Command(context.WithoutCancel(t.Context()), "pgbench", "-h", db.Sockets, "-n", "-c", "2", "-T", "600", "postgres"))

	client := pay(t, db, "paid")
	client.await(t, 500)
	// The archive has begun to follow: what is measured is its daily work.
	must(t, lab.Poll(t.Context(), "the archive to follow", func(ctx context.Context) error {
		_, err := first.Ballast(ctx, "volume", "history", "db")
		return err
	}))
	client.keepOn(t, 3*interval)
	lost := time.Now()
	must(t, first.Close()) // power off; its folder is deleted
	acked := client.acknowledged()

	second, _ := site.machine(t)
	ballast(t, second, "recover")
	again := database(t, second, "db")
	must(t, again.Start(t.Context()))
	usable := time.Since(lost)
	newest := number(t, again, "SELECT coalesce(max(n), 0) FROM paid")
	if count := number(t, again, "SELECT count(*) FROM paid"); count != newest {
		t.Errorf("%d of the first %d commits are there: what survives is no prefix", count, newest)
	}
	age := missing(acked, newest, lost)
	t.Logf("%d commits acknowledged, the first %d recovered; the oldest missing one was %.1f s old; usable %.1f s after the loss", len(acked), newest, age.Seconds(), usable.Seconds())
	if age > interval+time.Second {
		t.Errorf("a commit of %.1f s before the loss is missing; at most %v are allowed", age.Seconds(), interval+time.Second)
	}
	query(t, again, "INSERT INTO paid VALUES (0)")
	must(t, again.Stop())
}

// missing is how long before the loss the first commit was acknowledged that was not recovered.
func missing(acked []time.Time, newest int, lost time.Time) time.Duration {
	if newest >= len(acked) {
		return 0
	}
	return lost.Sub(acked[newest])
}

// payer commits numbers one after another, and notes when each was acknowledged.
type payer struct {
	mu    sync.Mutex
	acked []time.Time
}

func pay(t *testing.T, db *postgres.Server, table string) *payer {
	t.Helper()
	cmd := db.Command(context.WithoutCancel(t.Context()), "psql", "-XqAt", "-h", db.Sockets, "postgres")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	p := &payer{}
	start(t, db.Machine, cmd)
	go p.work(in, bufio.NewScanner(out), table) // ends with psql
	return p
}

func (p *payer) work(in io.Writer, out *bufio.Scanner, table string) {
	for n := 1; ; n++ {
		if _, err := fmt.Fprintf(in, "INSERT INTO %s VALUES (%d) RETURNING n;\n", table, n); err != nil {
			return
		}
		if !out.Scan() || out.Text() != strconv.Itoa(n) {
			return
		}
		p.mu.Lock()
		p.acked = append(p.acked, time.Now())
		p.mu.Unlock()
	}
}

// acknowledged returns when each commit was; commit n is at index n-1.
func (p *payer) acknowledged() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

func (p *payer) await(t *testing.T, commits int) {
	t.Helper()
	must(t, lab.Poll(t.Context(), "commits", func(context.Context) error {
		if n := len(p.acknowledged()); n < commits {
			return fmt.Errorf("%d of %d", n, commits)
		}
		return nil
	}))
}

// keepOn returns when commits have been acknowledged over a stretch of time.
func (p *payer) keepOn(t *testing.T, d time.Duration) {
	t.Helper()
	from := time.Now()
	must(t, lab.Poll(t.Context(), "commits to go on", func(context.Context) error {
		acked := p.acknowledged()
		if last := acked[len(acked)-1]; last.Sub(from) < d {
			return fmt.Errorf("the last one was %v after the first", last.Sub(from))
		}
		return nil
	}))
}

func query(t *testing.T, db *postgres.Server, statement string) string {
	t.Helper()
	out, err := db.Query(t.Context(), statement)
	must(t, err)
	return out
}

func number(t *testing.T, db *postgres.Server, statement string) int {
	t.Helper()
	n, err := strconv.Atoi(query(t, db, statement))
	must(t, err)
	return n
}
