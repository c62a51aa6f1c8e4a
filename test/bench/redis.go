package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// redis sets keys in a Redis that acknowledges what is on disk.
type redis struct {
	b        *bench
	requests map[string]string // by the number of clients
}

func newRedis(b *bench) *redis {
	r := &redis{b: b, requests: map[string]string{"1": "5000", "50": "50000"}}
	if b.quick {
		r.requests = map[string]string{"1": "100", "50": "1000"}
	}
	return r
}

func (r *redis) name() string { return "redis" }

func (r *redis) metrics() []metric {
	return []metric{
		{"redis-c1", "Redis SET, appendfsync always, 1 client", "ops/s", 0},
		{"redis-c50", "Redis SET, appendfsync always, 50 clients", "ops/s", 0},
	}
}

const redisSocket = sockets + "/redis.sock"

func (r *redis) data(p *place) string { return path.Join(p.dir, "redis") }

func (r *redis) prepare(ctx context.Context, p *place) error {
	_, err := r.b.m.Output(ctx, "mkdir", "-p", r.data(p))
	return err
}

func (r *redis) run(ctx context.Context, p *place) (sample, error) {
	cmd := r.b.m.Command(ctx, "redis-server", "--port", "0", "--unixsocket", redisSocket, "--dir", r.data(p), "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
	s := sample{}
	err := r.b.serving(ctx, server{
		cmd: cmd,
		end: syscall.SIGTERM,
		answers: func(ctx context.Context) error {
			_, err := r.b.m.Output(ctx, "redis-cli", "-s", redisSocket, "ping")
			return err
		},
	}, func() error {
		for _, clients := range []string{"1", "50"} {
			out, err := r.b.m.Output(ctx, "redis-benchmark", "-s", redisSocket, "-t", "set", "-r", "100000", "-d", "64",
				"-c", clients, "-n", r.requests[clients], "--csv")
			if err != nil {
				return err
			}
			if s["redis-c"+clients], err = perSecond(out); err != nil {
				return err
			}
		}
		return nil
	})
	return s, err
}

// perSecond reads the line of SET.
func perSecond(text string) (float64, error) {
	in := csv.NewReader(strings.NewReader(text))
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil {
		return 0, fmt.Errorf("read what redis-benchmark said: %w", err)
	}
	for _, row := range rows {
		if len(row) > 1 && row[0] == "SET" {
			return strconv.ParseFloat(row[1], 64)
		}
	}
	return 0, fmt.Errorf("redis-benchmark said no figure: %.200s", text)
}

func (r *redis) clear(ctx context.Context, p *place) error { return remove(ctx, r.b.m, r.data(p)) }
