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
	Rounds  int       `json:"rounds"`
	Quick   bool      `json:"quick,omitempty"` // the figures mean nothing
	Figures []figure  `json:"figures"`
	Growth  []growth  `json:"growth,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // what was left out, and why
}

// Names of files in the folder of the results.
const (
	resultsFile = "cluster.json"
	tableFile   = "cluster.txt"
	plotFile    = "cluster.svg"
)

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
	Traffic   float64   `json:"sent_bytes_min"`     // by all nodes to each other, all of it
	PeerBytes float64   `json:"etcd_bytes_min"`     // of that, what etcd's members sent each other
	Requests  float64   `json:"etcd_requests_min"`  // reads and writes that etcd's members answered
	AttachMS  float64   `json:"attach_ms"`          // of a volume with a copy, clean; the median of some
	CreateMS  float64   `json:"create_ms"`          // of one volume, on the average
	AgentsCPU float64   `json:"agents_cpu_percent"` // of one core, all agents together
}

func newResults(o options) *results {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return &results{Began: time.Now().UTC().Truncate(time.Second), Kernel: strings.TrimSpace(string(kernel)), CPUs: runtime.NumCPU(), Lease: o.lease.String(), Rounds: o.rounds, Quick: o.quick}
}

func (r *results) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
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
	fmt.Fprintf(w, "\nThree lab nodes on one machine: kernel %s, %d CPUs, a lease of %s, %d rounds.\n\n", r.Kernel, r.CPUs, r.Lease, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() // a screen that is gone is no loss
	for _, f := range r.Figures {
		met := ""
		if f.Goal != "" {
			met = map[bool]string{true: "yes", false: "no"}[f.Met]
		}
		fmt.Fprintf(t, "%s\t%.4g %s\t%s\t%s\n", f.Title, f.Value, f.Unit, f.Goal, met)
	}
	r.printGrowth(t)
	if r.Quick {
		fmt.Fprintln(t, "\nThis was -quick: the figures mean nothing.")
	}
	for _, note := range r.Notes {
		fmt.Fprintln(t, "\n"+note)
	}
}

func (r *results) printGrowth(w io.Writer) {
	if len(r.Growth) == 0 {
		return
	}
	fmt.Fprintln(w, "\nidle volumes\tagents' RSS MiB\tsent KiB/min\tof that by etcd\tetcd requests/min\tattach ms\tcreate ms\tagents' CPU %")
	for _, g := range r.Growth {
		fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\n", g.Volumes, g.AgentMiB, g.Traffic/1024, g.PeerBytes/1024, g.Requests, g.AttachMS, g.CreateMS, g.AgentsCPU)
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
		resultsFile: append(text, '\n'), tableFile: []byte(table.String()), plotFile: []byte(plot(r.Growth)),
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
