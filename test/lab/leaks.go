package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is what a machine holds at a moment that could leak: mounts, loop
// devices, FUSE connections, processes, open files of the agent. It maps each
// thing, in words, to how many there are.
type Snapshot map[string]int

// Grown lists what there is more of than there was before.
func (s Snapshot) Grown(before Snapshot) []string {
	var grown []string
	for _, thing := range slices.Sorted(maps.Keys(s)) {
		if more := s[thing] - before[thing]; more > 0 {
			grown = append(grown, fmt.Sprintf("%d × %s", more, thing))
		}
	}
	return grown
}

// Snapshot takes stock of the machine. A FUSE connection counts when it is
// mounted here, or nowhere on the host.
func (m *Machine) Snapshot(ctx context.Context) (Snapshot, error) {
	s := Snapshot{}
	for _, add := range []func(context.Context, Snapshot) error{
		m.addMounts, m.addLoops, m.addConnections, m.addProcesses, m.addDescriptors,
	} {
		if err := add(ctx, s); err != nil {
			return nil, fmt.Errorf("take stock of lab machine: %w", err)
		}
	}
	return s, nil
}

func (m *Machine) addMounts(_ context.Context, s Snapshot) error {
	ns, err := m.running()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", ns.pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		s[fmt.Sprintf("mount %s (%s)", strings.Fields(before)[4], strings.Fields(after)[0])]++
	}
	return nil
}

func (m *Machine) addLoops(ctx context.Context, s Snapshot) error {
	text, err := m.Output(ctx, "losetup", "--noheadings", "--raw", "--output", "BACK-FILE")
	if err != nil {
		return err
	}
	for file := range strings.Lines(text) {
		if strings.HasPrefix(file, m.Dir+"/") {
			s["loop device of "+strings.TrimSpace(file)]++
		}
	}
	return nil
}

func (m *Machine) addConnections(_ context.Context, s Snapshot) error {
	connections, err := os.ReadDir(m.Root() + fusectl)
	if err != nil {
		return err
	}
	mounted, err := mountedConnections()
	if err != nil {
		return err
	}
	for _, c := range connections {
		if !mounted[c.Name()] {
			s["FUSE connection "+c.Name()+" that nothing mounts"]++
		}
	}
	return nil
}

// fusectl is where machine.sh mounts the control files of FUSE, away from their
// usual place, which stays as the host has it.
const fusectl = "/run/lab/fusectl"

// mountedConnections are the FUSE connections that some process of the host
// sees mounted, by the minor number of their device.
func mountedConnections() (map[string]bool, error) {
	files, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return nil, err
	}
	mounted := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the process has ended meanwhile
		}
		for line := range strings.Lines(string(text)) {
			if minor, ok := strings.CutPrefix(strings.Fields(line)[2], "0:"); ok {
				mounted[minor] = true
			}
		}
	}
	return mounted, nil
}

func (m *Machine) addProcesses(_ context.Context, s Snapshot) error {
	files, err := filepath.Glob(m.Root() + "/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range files {
		argv, err := os.ReadFile(file)
		if err != nil || len(argv) == 0 {
			continue // it has ended meanwhile, or waits to be buried
		}
		s["process "+strings.TrimSpace(strings.ReplaceAll(string(argv), "\x00", " "))]++
	}
	return nil
}

// nameless matches what tells two sockets, pipes or the like apart.
var nameless = regexp.MustCompile(`:\[[0-9]+\]$`)

func (m *Machine) addDescriptors(_ context.Context, s Snapshot) error {
	pid := m.Agent.PID()
	if pid == 0 {
		return nil
	}
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	if err != nil {
		return err
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			s["open file of the agent: "+nameless.ReplaceAllString(target, "")]++
		}
	}
	return nil
}
