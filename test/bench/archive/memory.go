package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// peak watches a process's memory.
type peak struct {
	mu   sync.Mutex
	mib  int
	done chan struct{}
	over chan struct{}
}

func watch(pid int) *peak {
	p := &peak{done: make(chan struct{}), over: make(chan struct{})}
	go func() { // ends with stop
		defer close(p.over)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.note(resident(pid))
			case <-p.done:
				return
			}
		}
	}()
	return p
}

func (p *peak) note(mib int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mib = max(p.mib, mib)
}

func (p *peak) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mib
}

func (p *peak) stop() { close(p.done); <-p.over }

// resident is a process's memory in MiB, 0 when it has ended.
func resident(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, _ := strconv.Atoi(fields[1]) // the kernel's own number
			return kib / 1024
		}
	}
	return 0
}
