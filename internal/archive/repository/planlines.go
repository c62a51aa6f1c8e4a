package repository

import "fmt"

// Lines returns the plan for people, a line each.
func (p *PrunePlan) Lines() []string {
	if p.nothing() {
		return []string{fmt.Sprintf("nothing to do: %s need all but %s of %s", count(p.snapshots, "snapshot"), amount(p.unused), amount(p.kept))}
	}
	lines := []string{fmt.Sprintf("keep     %s, %s, for %s", count(len(p.keep), "pack"), amount(p.kept), count(p.snapshots, "snapshot"))}
	if n := len(p.rewrite); n > 0 {
		all, needed := p.rewriting()
		lines = append(lines, fmt.Sprintf("rewrite  %s, %s, of which %s is needed", count(n, "pack"), amount(all), amount(needed)))
	}
	if n := len(p.remove); n > 0 {
		lines = append(lines, fmt.Sprintf("delete   %s, %s, that no snapshot needs", count(n, "pack"), amount(total(p.remove))))
	}
	if n := len(p.stray); n > 0 {
		lines = append(lines, fmt.Sprintf("delete   %s, %s, left by uploads that did not finish", count(n, "pack"), amount(total(p.stray))))
	}
	if n := len(p.indexes); n > 0 {
		lines = append(lines, fmt.Sprintf("replace  %s", count(n, "index file")))
	}
	return append(lines, fmt.Sprintf("frees    %s", amount(p.Frees())))
}

// Frees returns how many bytes the plan gives back.
func (p *PrunePlan) Frees() int64 {
	all, needed := p.rewriting()
	return total(p.remove) + total(p.stray) + all - needed
}

// Nothing reports whether there is nothing to do.
func (p *PrunePlan) Nothing() bool { return p.nothing() }

// rewriting returns the bytes of the packs that are rewritten, and what is left.
func (p *PrunePlan) rewriting() (all, needed int64) {
	for _, w := range p.rewrite {
		all += w.size
		needed += packSize(w.blobs)
	}
	return all, needed
}

func total(files []file) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// amount writes a number of bytes for people.
func amount(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
