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
	"time"
)

// report is all that was measured. It is what the JSON file holds.
type report struct {
	Began   time.Time      `json:"began"`
	Kernel  string         `json:"kernel"`
	CPUs    int            `json:"cpus"`
	Rounds  int            `json:"rounds"`
	Quick   bool           `json:"quick,omitempty"` // the figures mean nothing
	Results []*result      `json:"results"`
	Memory  []memoryResult `json:"memory,omitempty"`
	Notes   []string       `json:"notes,omitempty"`
}

// result is one metric everywhere.
type result struct {
	metric
	Places map[string]*series `json:"places"`
}

// series is one metric in one place, round by round.
type series struct {
	Median  float64   `json:"median"`
	Ratio   float64   `json:"ratio,omitempty"` // to the plain directory; above 1 is better
	Samples []float64 `json:"samples"`
}

func newReport(o options) *report {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return &report{Began: time.Now().UTC().Truncate(time.Second), Kernel: strings.TrimSpace(string(kernel)),
		CPUs: runtime.NumCPU(), Rounds: o.rounds, Quick: o.quick}
}

func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// add takes what one run in one place measured.
func (r *report) add(place string, metrics []metric, s sample) {
	for _, m := range metrics {
		res := r.result(m)
		if res.Places[place] == nil {
			res.Places[place] = &series{}
		}
		one := res.Places[place]
		one.Samples = append(one.Samples, s[m.Name])
		one.Median = median(one.Samples)
		res.compare()
	}
}

func (r *report) result(m metric) *result {
	i := slices.IndexFunc(r.Results, func(res *result) bool { return res.Name == m.Name })
	if i < 0 {
		i = len(r.Results)
		r.Results = append(r.Results, &result{metric: m, Places: map[string]*series{}})
	}
	return r.Results[i]
}

// compare works out the ratios anew.
func (r *result) compare() {
	plain := r.Places[plainName]
	for _, s := range r.Places {
		if plain == nil || plain.Median == 0 || s.Median == 0 {
			continue
		}
		s.Ratio = s.Median / plain.Median
		if r.lessIsBetter() {
			s.Ratio = plain.Median / s.Median
		}
	}
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

const (
	resultsFile = "results.json"
	tableFile   = "table.txt"
	plotFile    = "ratios.svg"
)

// save writes the results as they are now.
func (r *report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, resultsFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	var table strings.Builder
	r.print(&table)
	if err := os.WriteFile(filepath.Join(dir, tableFile), []byte(table.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, plotFile), []byte(plot(r)), 0o644)
}

func (r *report) tellWhere(w io.Writer, dir string) {
	fmt.Fprintf(w, "\nEvery sample: %s   Plot: %s\n", filepath.Join(dir, resultsFile), filepath.Join(dir, plotFile))
}
