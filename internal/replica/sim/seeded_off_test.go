//go:build !seededbugs

package sim

func broken(bug) bool { return false }
