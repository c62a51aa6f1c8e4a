// Package environ is what a child process is told of its parent's environment: how to find
// programs, and what steers Go's runtime, but nothing that may be a secret (G9).
//
// The agent's environment has the credentials of the archive's store, and may have more that
// was meant for it alone; /proc shows a process's environment as long as it lives. So what is
// passed on is listed here, and the rest is not.
package environ

import (
	"os"
	"slices"
	"strings"
)

// passed are the variables that children get.
var passed = []string{
	"PATH", "HOME", "TMPDIR", "TZ",
	"LANG", "LC_ALL", "LC_MESSAGES",
	"GODEBUG", "GOTRACEBACK", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOCOVERDIR",
	"BALLAST_SEEDED_BUG", // of a build with seededbugs; others do not read it
}

// Of returns what a child gets of the process's environment, and more, as NAME=VALUE, which
// goes before.
func Of(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return !slices.Contains(passed, name)
	})
	return append(env, more...) // of two, os/exec takes the last
}
