package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// results are all that was measured. They are what the JSON file holds.
type results struct {
	Began   time.Time `json:"began"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Lease   string    `json:"lease"`
	Figures []figure  `json:"figures"`
	Growth  []growth  `json:"growth,omitempty"`
}

// figure is one number and what it should be.
type figure struct {
	Title   string    `json:"title"`
	Unit    string    `json:"unit"`
	Value   float64   `json:"value"`
	Goal    string    `json:"goal,omitempty"`
	Met     bool      `json:"met,omitempty"`
	Samples []float64 `json:"samples,omitempty"`
}

// growth is what so many idle volumes cost.
type growth struct {
	Volumes   int       `json:"volumes"`
	AgentMiB  []float64 `json:"agent_mib"`          // RSS, by node
	Traffic   float64   `json:"traffic_bytes_s"`    // sent by all nodes
	AttachMS  float64   `json:"attach_ms"`          // of a volume with a copy, clean; the median of some
	CreateMS  float64   `json:"create_ms"`          // of one volume, on the average
	AgentsCPU float64   `json:"agents_cpu_percent"` // of one core, all agents together
}

func newResults(lease time.Duration) *results {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return &results{Began: time.Now().UTC().Truncate(time.Second), Kernel: strings.TrimSpace(string(kernel)), CPUs: runtime.NumCPU(), Lease: lease.String()}
}

// atMost adds a figure that is better when smaller; a goal of 0 is none.
func (r *results) atMost(title, unit string, value, goal float64, samples ...float64) {
	f := figure{Title: title, Unit: unit, Value: value, Samples: samples}
	if goal > 0 {
		f.Goal, f.Met = fmt.Sprintf("≤ %g", goal), value <= goal
	}
	r.Figures = append(r.Figures, f)
}

// atLeast adds a figure that is better when greater.
func (r *results) atLeast(title, unit string, value, goal float64, samples ...float64) {
	f := figure{Title: title, Unit: unit, Value: value, Samples: samples}
	if goal > 0 {
		f.Goal, f.Met = fmt.Sprintf("≥ %g", goal), value >= goal
	}
	r.Figures = append(r.Figures, f)
}

func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\nThree lab nodes on one machine: kernel %s, %d CPUs, a lease of %s.\n\n", r.Kernel, r.CPUs, r.Lease)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() // a screen that is gone is no loss
	for _, f := range r.Figures {
		met := ""
		if f.Goal != "" {
			met = map[bool]string{true: "yes", false: "no"}[f.Met]
		}
		fmt.Fprintf(t, "%s\t%.4g %s\t%s\t%s\n", f.Title, f.Value, f.Unit, f.Goal, met)
	}
	if len(r.Growth) == 0 {
		return
	}
	fmt.Fprintln(t, "\nidle volumes\tagents' RSS MiB\tsent, bytes/s\tattach ms\tcreate ms\tagents' CPU %")
	for _, g := range r.Growth {
		fmt.Fprintf(t, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\n", g.Volumes, g.AgentMiB, g.Traffic, g.AttachMS, g.CreateMS, g.AgentsCPU)
	}
}

func (r *results) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var table strings.Builder
	r.print(&table)
	for name, data := range map[string][]byte{
		"cluster.json": append(text, '\n'), "cluster.txt": []byte(table.String()), "cluster.svg": []byte(plot(r.Growth)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// percentile returns the p-th of 100 of some samples.
func percentile(samples []float64, p int) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}
