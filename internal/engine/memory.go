package engine

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/device"
)

const (
	// memoryGoal is what the Go runtime tries to stay below, in bytes. Buffers of the
	// device are not in it: up to 16 MiB.
	memoryGoal = 56 << 20

	// collectAt makes the heap smaller than Go's default of 100 would, at a little more
	// work: an engine allocates little once it runs.
	collectAt = 50
)

// tuneRuntime fits Go's runtime to a process whose threads wait in the kernel.
func tuneRuntime() {
	debug.SetMemoryLimit(memoryGoal)
	debug.SetGCPercent(collectAt)
	// A worker that waits for a request holds a share of the CPUs, as the runtime
	// counts them, until it is noticed, up to 10 ms later; with one share per CPU a worker
	// that has got a request waits for one of them. On two busy CPUs that made a read of
	// 4 KiB four times as slow.
	runtime.GOMAXPROCS(runtime.NumCPU() + device.Workers)
}

// forgetStart gives back the memory that only the start needed: what recovery has
// read, and the pages of the program that ran once, which are most of it, as the program
// is also the agent. A page that is needed again comes back from the page cache. There
// is an engine for every volume, so this counts.
func forgetStart() error {
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("list memory: %w", err)
	}
	defer f.Close() // was only read
	ranges, err := cleanPages(f)
	if err != nil {
		return fmt.Errorf("list memory: %w", err)
	}
	for _, r := range ranges {
		if err := r.forget(); err != nil {
			return fmt.Errorf("forget pages of the program: %w", err)
		}
	}
	return nil
}

// pages is a range of addresses.
type pages struct{ from, to uintptr }

// cleanPages finds, in /proc/self/smaps, mappings of files that are not writable and hold
// nothing but the file. The second counts: what a dynamic linker has written and then
// protected looks like constants, and forgetting it once crashed engines.
func cleanPages(smaps io.Reader) (clean []pages, err error) {
	var at pages
	var candidate bool
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 2:
		case strings.Contains(fields[0], "-"):
			at, candidate = program(fields)
		case fields[0] == "Anonymous:" && fields[1] == "0" && candidate:
			clean = append(clean, at)
		}
	}
	return clean, lines.Err()
}

// program reads the first line of a mapping, such as
//
//	00400000-00f3f000 r-xp 00000000 fe:00 1312 /usr/bin/ballast
//
// and accepts files that are not mapped for writing.
func program(fields []string) (at pages, ok bool) {
	if len(fields) < 6 || !strings.HasPrefix(fields[1], "r-") || !strings.HasPrefix(fields[5], "/") {
		return pages{}, false
	}
	n, err := fmt.Sscanf(fields[0], "%x-%x", &at.from, &at.to)
	return at, n == 2 && err == nil && at.from < at.to
}

func (p pages) forget() error {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, p.from, p.to-p.from, unix.MADV_DONTNEED)
	if errno != 0 {
		return errno
	}
	return nil
}
