package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// event is one line of the record.
type event struct {
	at   time.Duration
	what string // such as "app.enter", "top.issue.flush", "engine.exit.read"
	tid  string
	arg  string // the result of a system call
}

// step is a stretch of a call's way: from where the last one ended up to the next
// event of that name.
type step struct {
	title string
	until string
	arg   string // what the event must carry; "": anything
	same  bool   // it must be of the thread that got the last request
}

var plainSteps = []step{
	{title: "ext4: submit the block", until: "disk.issue.write"},
	{title: "disk: write", until: "disk.complete.write"},
	{title: "wake up; ask for a flush", until: "disk.issue.flush"},
	{title: "disk: flush", until: "disk.complete.flush"},
	{title: "wake up the application", until: "app.exit"},
}

var volumeSteps = []step{
	{title: "ext4 in the volume: submit the block", until: "top.issue.write"},
	{title: "loop, FUSE: carry the write to the engine", until: "engine.exit.read", arg: "0x1050"},
	{title: "engine: checksum, append, index", until: "engine.enter.write", same: true},
	{title: "FUSE, loop: carry the answer back", until: "top.complete.write"},
	{title: "wake up; ask for a flush", until: "top.issue.flush"},
	{title: "loop, FUSE: carry the flush to the engine", until: "engine.exit.read", arg: "0x38"},
	{title: "engine: end the batch", until: "engine.enter.pwrite64", same: true},
	{title: "engine: write the batch to the page cache", until: "engine.exit.pwrite64", same: true},
	{title: "engine: call fdatasync", until: "engine.enter.fdatasync", same: true},
	{title: "ext4 below: submit the batch", until: "disk.issue.write"},
	{title: "disk: write", until: "disk.complete.write"},
	{title: "wake up; ask for a flush", until: "disk.issue.flush"},
	{title: "disk: flush", until: "disk.complete.flush"},
	{title: "wake up the engine", until: "engine.exit.fdatasync", same: true},
	{title: "engine: answer", until: "engine.enter.write", same: true},
	{title: "FUSE, loop: carry the answer back", until: "top.complete.flush"},
	{title: "wake up the application", until: "app.exit"},
}

// account is where the time went.
type account struct {
	steps  []step
	calls  int               // seen
	totals []time.Duration   // of those of one write and one flush
	parts  [][]time.Duration // of those, by step
}

var line = regexp.MustCompile(`^\s*(.{1,16}?)\s+(\d+)\s+(\d+\.\d{9}):\s+(?:syscalls|block):(\S+?):\s*(.*)$`)

// read follows one call after the other.
func (s subject) read(r io.Reader, call string) (*account, error) {
	a := &account{steps: s.steps, parts: make([][]time.Duration, len(s.steps))}
	var window []event
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		found := line.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		e := s.event(found[1], found[2], found[4], found[5], call)
		e.at, _ = time.ParseDuration(found[3] + "s") // digits, as the pattern says
		switch {
		case e.what == "app.enter":
			window = []event{e}
		case window != nil && e.what != "":
			window = append(window, e)
		}
		if e.what == "app.exit" && window != nil {
			a.add(window)
			window = nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(a.totals) == 0 {
		return nil, fmt.Errorf("none of %d calls to %s took one write and one flush", a.calls, call)
	}
	return a, nil
}

// event names what happened; "" is of no interest.
func (s subject) event(comm, tid, name, rest, call string) event {
	words := strings.Fields(rest)
	e := event{tid: tid}
	if len(words) > 0 {
		e.arg = words[len(words)-1]
	}
	way, what, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, "sys_"), "block_rq_"), "_")
	switch {
	case comm == "fio" && what == call:
		e.what = "app." + way
	case comm == "ballast" && strings.HasPrefix(name, "sys_"):
		e.what = "engine." + way + "." + what
	case strings.HasPrefix(name, "block_") && len(words) > 1:
		e.what = s.block(words[0], words[1], way)
	}
	return e
}

func (s subject) block(device, kind, way string) string {
	name := map[string]string{s.top: "top", s.disk: "disk"}[device]
	switch {
	case name == "":
		return ""
	case strings.HasPrefix(kind, "F"):
		return name + "." + way + ".flush"
	case strings.Contains(kind, "W"):
		return name + "." + way + ".write"
	}
	return ""
}

// add takes one call apart, if it is of the plain kind.
func (a *account) add(window []event) {
	a.calls++
	top := "top"
	if a.steps[0].until == "disk.issue.write" {
		top = "disk"
	}
	if count(window, top+".issue.write") != 1 || count(window, top+".issue.flush") != 1 {
		return
	}
	var parts []time.Duration
	tid, from := "", 0
	for _, s := range a.steps {
		i := slices.IndexFunc(window[from+1:], func(e event) bool {
			return e.what == s.until && (s.arg == "" || e.arg == s.arg) && (!s.same || e.tid == tid)
		})
		if i < 0 {
			return // its events are those of others, who use the disk as well
		}
		next := from + 1 + i
		parts = append(parts, window[next].at-window[from].at)
		if from = next; s.arg != "" {
			tid = window[next].tid
		}
	}
	a.totals = append(a.totals, window[len(window)-1].at-window[0].at)
	for i, p := range parts {
		a.parts[i] = append(a.parts[i], p)
	}
}

func count(window []event, what string) (n int) {
	for _, e := range window {
		if e.what == what {
			n++
		}
	}
	return n
}

func (a *account) print(w io.Writer, title, call string) {
	fmt.Fprintf(w, "\n%s: %d of %d calls to %s; medians in microseconds\n\n", title, len(a.totals), a.calls, call)
	for i, s := range a.steps {
		fmt.Fprintf(w, "  %8s  %s\n", micros(a.parts[i]), s.title)
	}
	fmt.Fprintf(w, "  %8s  all of it\n", micros(a.totals))
}

func micros(all []time.Duration) string {
	slices.Sort(all)
	return strconv.FormatFloat(float64(all[len(all)/2])/float64(time.Microsecond), 'f', 1, 64)
}
