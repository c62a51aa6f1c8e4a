package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// footprint is the memory of a process, in MiB.
type footprint struct {
	RSS float64 `json:"rss_mib"` // VmRSS: all its pages
	PSS float64 `json:"pss_mib"` // Pss of smaps_rollup: shared pages count in part
}

func (f footprint) max(g footprint) footprint { return footprint{max(f.RSS, g.RSS), max(f.PSS, g.PSS)} }

// memoryResult is what was found of one program.
type memoryResult struct {
	Program  string    `json:"program"`
	Idle     footprint `json:"idle"`      // attached, and nothing was done yet
	Load     footprint `json:"load"`      // the greatest of all samples while Ballast worked
	Again    footprint `json:"idle_late"` // after all the work
	IdleGoal float64   `json:"idle_goal_mib"`
	LoadGoal float64   `json:"load_goal_mib"`
}

// memory watches the engine and the agent. Its fields are used by one goroutine at
// a time: the one that watches, or the one that waited for it.
type memory struct {
	pids    []int
	results []memoryResult
}

func newMemory(m *lab.Machine) (*memory, error) {
	engine, err := findEngine(m)
	if err != nil {
		return nil, err
	}
	w := &memory{
		pids:    []int{engine, m.Agent.PID()},
		results: []memoryResult{{Program: "engine", IdleGoal: 25, LoadGoal: 96}, {Program: "agent", IdleGoal: 100, LoadGoal: 100}},
	}
	w.each(func(r *memoryResult, f footprint) { r.Idle = f })
	return w, nil
}

func (w *memory) each(do func(*memoryResult, footprint)) {
	for i, pid := range w.pids {
		if f, err := footprintOf(pid); err == nil { // else it ended, which its work says better
			do(&w.results[i], f)
		}
	}
}

// watch samples until stop is called.
func (w *memory) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(250 * time.Millisecond)
		defer again.Stop()
		for {
			w.each(func(r *memoryResult, f footprint) { r.Load = r.Load.max(f) })
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (w *memory) result(context.Context) []memoryResult {
	w.each(func(r *memoryResult, f footprint) { r.Again = f })
	return w.results
}

// findEngine looks for the process that serves the machine's one volume. The
// engine knows its own id only as it is inside the machine.
func findEngine(m *lab.Machine) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte("\x00engine\x00")) && !bytes.Contains(line, []byte(" engine")) {
			continue // gone, or another program
		}
		if bytes.Contains(line, []byte(m.Path("ballast", "volumes"))) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no engine runs in %s", m.Dir)
}

func footprintOf(pid int) (footprint, error) {
	rss, err := field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	if err != nil {
		return footprint{}, err
	}
	pss, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	return footprint{RSS: rss, PSS: pss}, err
}

// field reads a line such as "VmRSS:  1234 kB", in MiB.
func field(file, name string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && words[0] == name {
			kib, err := strconv.ParseFloat(words[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
