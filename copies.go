package ballast

import (
	"fmt"
	"strconv"
)

// MaxReplicas is how many copies of a volume there can be.
const MaxReplicas = 5

// CopiesWanted returns how many copies of the volume there shall be in a cluster of
// so many nodes: what was asked for, whether there are nodes enough or not; else two
// of the only copy of something where there are two nodes, and one of all else.
func (s VolumeSpec) CopiesWanted(nodes int) int {
	switch {
	case s.Replicas > 0:
		return s.Replicas
	case s.Class == Primary:
		return max(1, min(2, nodes))
	}
	return 1
}

// CopiesNeeded returns how many in-sync copies there must be for a write to be
// acknowledged; at least 1.
func (s VolumeSpec) CopiesNeeded() int { return max(1, s.MinCopies) }

func (s VolumeSpec) checkCopies() error {
	switch {
	case s.Replicas < 0 || s.Replicas > MaxReplicas:
		return invalid("repl %d: a volume has from 1 to %d copies", s.Replicas, MaxReplicas)
	case s.MinCopies < 0 || s.MinCopies > max(1, s.Replicas):
		return invalid("min_copies=%d: writes would wait for more copies than there shall be; ask for repl=%d or more as well", s.MinCopies, s.MinCopies)
	}
	return nil
}

func parseCopies(key, value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil || n < 1 || n > MaxReplicas {
		return 0, invalid("%s %q: give the number of copies in all, from 1 to %d", key, clip(value), MaxReplicas)
	}
	return int(n), nil
}

// parseMinCopies returns 0 for what is so without being asked for, or a volume of an
// earlier release would differ from the same one of this.
func parseMinCopies(key, value string) (int, error) {
	n, err := parseCopies(key, value)
	if err != nil || n == 1 {
		return 0, err
	}
	return n, nil
}

// sameCopies takes the default for every number that it can stand for: until there
// were several nodes repl=1 was kept as the default, and Docker asks with it again.
func (s VolumeSpec) sameCopies(t VolumeSpec) bool {
	a, b := s.Replicas, t.Replicas
	if a > b {
		a, b = b, a
	}
	return a == b || a == 0 && b <= t.defaultCopies()
}

// defaultCopies is the most copies there are when none were asked for.
func (s VolumeSpec) defaultCopies() int {
	s.Replicas = 0
	return s.CopiesWanted(MaxReplicas)
}

func (s VolumeSpec) copiesText() string {
	if s.Replicas == 0 {
		return fmt.Sprintf("%d by default", s.defaultCopies())
	}
	return strconv.Itoa(s.Replicas)
}
