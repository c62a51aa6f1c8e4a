package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast/test/lab"
)

// counters are an agent's metrics, as it says them to Prometheus.
type counters string

// metrics asks a node's agent for what it counts.
func metrics(ctx context.Context, n *lab.Node) (_ counters, err error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.Outside(n.AgentSocket()))
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://ballast/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask agent of %s for its metrics: %w", n.Name, err)
	}
	defer resp.Body.Close() // read to its end
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return counters(text), err
}

// sum is that of all values under a name, whatever their labels.
func (c counters) sum(name string) (all float64) {
	for line := range strings.Lines(string(c)) {
		rest, ok := strings.CutPrefix(line, name)
		words := strings.Fields(rest)
		if !ok || len(words) == 0 || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(words[len(words)-1], 64)
		if err == nil {
			all += value
		}
	}
	return all
}
