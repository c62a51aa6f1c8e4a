package main

import (
	"context"
	"fmt"
	"strings"
)

// workload is work that can be done in any folder.
type workload interface {
	name() string
	metrics() []metric
	prepare(ctx context.Context, p *place) error // once in every place
	run(ctx context.Context, p *place) (sample, error)
	clear(ctx context.Context, p *place) error // also of what failed
}

// metric is something that a workload measures.
type metric struct {
	Name  string  `json:"name"`
	Title string  `json:"title"`
	Unit  string  `json:"unit"`           // "s" and "ms" are better when smaller
	Goal  float64 `json:"goal,omitempty"` // the ratio to the plain directory to reach, or the greatest value of what has none
}

// lessIsBetter says which way is up.
func (m metric) lessIsBetter() bool { return m.Unit == "s" || m.Unit == "ms" || m.Unit == "MiB" }

// sample is what one run measured, by the name of the metric.
type sample map[string]float64

// brief is the sample in one line.
func (s sample) brief(metrics []metric) string {
	var words []string
	for _, m := range metrics {
		words = append(words, number(s[m.Name])+" "+m.Unit)
	}
	return strings.Join(words, ", ")
}

// number shows three digits or more.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// workloads is all the work there is, but for attaching, which only a volume can.
func workloads(b *bench) []workload {
	all := []workload{newPgbench(b)}
	for _, j := range fioJobs {
		all = append(all, newFio(b, j))
	}
	return append(all, newRedis(b), newTree(b))
}

func workNames() []string {
	var names []string
	for _, w := range workloads(&bench{}) {
		names = append(names, w.name())
	}
	return append(names, attachName)
}
