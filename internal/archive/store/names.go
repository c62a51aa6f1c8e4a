package store

import (
	"fmt"
	"strings"

	"github.com/ballast-io/ballast"
)

// The limits of a name. A segment leaves room for the name of the file that it is
// written to first; the depth ends a walk through links that lead back.
const (
	maxSegments = 8
	maxSegment  = 128 // bytes
)

// checkName refuses what is not the name of an object.
func checkName(name string) error {
	if !isName(name) {
		return fmt.Errorf("object name %.200q: want up to %d segments of a-z, 0-9, '.', '_' and '-', none beginning with a dot: %w",
			name, maxSegments, ballast.ErrInvalid)
	}
	return nil
}

// checkPrefix refuses what is not the beginning of a name.
func checkPrefix(prefix string) error {
	if strings.HasSuffix(prefix, "/") || prefix == "" {
		return checkName(prefix + "x")
	}
	return checkName(prefix)
}

func isName(name string) bool {
	segments := strings.SplitN(name, "/", maxSegments+1)
	for _, s := range segments {
		if !isSegment(s) {
			return false
		}
	}
	return len(segments) <= maxSegments
}

func isSegment(s string) bool {
	if s == "" || s[0] == '.' || len(s) > maxSegment {
		return false
	}
	return !strings.ContainsFunc(s, foreign)
}

// foreign says whether no name has r.
func foreign(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// checkData refuses an object that nobody could read back.
func checkData(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(data) > MaxSize {
		return fmt.Errorf("object %s: it has %d bytes, more than the %d it can have: %w", name, len(data), MaxSize, ballast.ErrInvalid)
	}
	return nil
}

// checkRange refuses a Get that asks for nothing or for too much.
func checkRange(name string, off, n int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if off < 0 || n == 0 || n > MaxSize {
		return fmt.Errorf("object %s: %d bytes from %d on: want 1 to %d bytes: %w", name, n, off, MaxSize, ballast.ErrInvalid)
	}
	return nil
}
