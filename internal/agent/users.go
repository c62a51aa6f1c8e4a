package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processUsers ends processes of this machine.
type processUsers struct{}

// endPoll is how often killed processes are looked for again.
const endPoll = 50 * time.Millisecond

// EndUsers implements users. It looks again until nobody is left, or ctx ends: who was killed
// takes a while to be gone.
func (processUsers) EndUsers(ctx context.Context, mountpoint string) (ended []string, err error) {
	dev, err := mountedDevice(mountpoint)
	if err != nil || dev == 0 {
		return nil, err
	}
	for {
		left := 0
		for _, pid := range processes() {
			if !usesDevice(pid, dev) {
				continue
			}
			name := processName(pid)
			if isSpared(pid, name) {
				continue
			}
			left++
			if who := fmt.Sprintf("%s(%d)", name, pid); !slices.Contains(ended, who) {
				ended = append(ended, who)
			}
			if e := unix.Kill(pid, unix.SIGKILL); e != nil && !errors.Is(e, unix.ESRCH) {
				err = errors.Join(err, fmt.Errorf("kill %s(%d): %w", name, pid, e))
			}
		}
		if left == 0 {
			return ended, err
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return ended, errors.Join(err, ctx.Err())
		}
	}
}

// mountedDevice returns the device number of what is mounted at a place, as the kernel lists
// it: the place itself may not answer. 0: nothing is.
func mountedDevice(mountpoint string) (uint64, error) {
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, fmt.Errorf("look for what is mounted: %w", err)
	}
	var dev uint64
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || unescapeMount(fields[4]) != mountpoint {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(fields[2], "%d:%d", &major, &minor); err == nil {
			dev = unix.Mkdev(major, minor) // the last one is on top
		}
	}
	return dev, nil
}

// unescapeMount undoes what the kernel does to blanks in mountinfo.
func unescapeMount(s string) string {
	for _, e := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

func processes() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // there is no Linux without it
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// usesDevice reports whether a process has something of a filesystem open, or stands in it.
// A process that goes away meanwhile uses nothing.
func usesDevice(pid int, dev uint64) bool {
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	for _, link := range []string{"cwd", "root", "exe"} {
		if isOn(filepath.Join(folder, link), dev) {
			return true
		}
	}
	open, err := os.ReadDir(filepath.Join(folder, "fd"))
	if err != nil {
		return false
	}
	for _, fd := range open {
		if isOn(filepath.Join(folder, "fd", fd.Name()), dev) {
			return true
		}
	}
	return hasMapped(folder, dev)
}

func isOn(path string, dev uint64) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Dev == dev
}

// hasMapped looks for files that a process has mapped and does not have open.
func hasMapped(folder string, dev uint64) bool {
	maps, err := os.ReadFile(filepath.Join(folder, "maps"))
	if err != nil {
		return false
	}
	want := fmt.Sprintf("%02x:%02x", unix.Major(dev), unix.Minor(dev))
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[3] == want {
			return true
		}
	}
	return false
}

func processName(pid int) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(name))
}

// isSpared keeps the machine alive: its first process, the node's own, and Docker's, which
// have something open for others, and let go of it with them.
func isSpared(pid int, name string) bool {
	return pid <= 1 || pid == os.Getpid() || slices.Contains([]string{"ballast", "dockerd", "containerd", "containerd-shim"}, name) || strings.HasPrefix(name, "containerd-shim")
}
