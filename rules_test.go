package ballast_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goPackage is what the rules look at in a folder with Go source.
type goPackage struct {
	dir   string // relative to the module, with slashes
	docs  int    // files with a package comment
	files []string
}

// packages finds every package of the module, generated ones apart.
func packages(t *testing.T) []goPackage {
	t.Helper()
	byDir := map[string]*goPackage{}
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(file) {
			return
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		p := byDir[dir]
		if p == nil {
			p = &goPackage{dir: dir}
			byDir[dir] = p
		}
		p.files = append(p.files, path)
		if file.Doc != nil {
			p.docs++
		}
	})
	var all []goPackage
	for _, p := range byDir {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b goPackage) int { return strings.Compare(a.dir, b.dir) })
	return all
}

// walk visits every file of the module; not of tools, and not what is built.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "tmp", "tools", "testdata"}, d.Name())):
			return filepath.SkipDir
		case !d.IsDir():
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A package says in one place what it is for.
func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range packages(t) {
		if p.docs != 1 {
			t.Errorf("%s: %d of its files have a package comment; want 1", p.dir, p.docs)
		}
	}
}

// ARCHITECTURE.md is the map: what is not on it cannot be found.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	for _, p := range packages(t) {
		if strings.HasPrefix(p.dir, "internal/") && !strings.Contains(text, p.dir) && !strings.Contains(text, filepath.Dir(p.dir)+"/…") {
			t.Errorf("ARCHITECTURE.md does not name %s", p.dir)
		}
	}
}

// A guarantee is a promise with a number; the code that keeps it and the test
// that attacks it name the number.
func TestEveryGuaranteeIsKeptAndAttacked(t *testing.T) {
	kept, attacked := mentions(t)
	for _, id := range guarantees(t) {
		if !kept[id] {
			t.Errorf("guarantee %s: no code says that it keeps it", id)
		}
		if !attacked[id] {
			t.Errorf("guarantee %s: no test says that it attacks it", id)
		}
	}
}

// guarantees are the numbers that docs/guarantees.md promises already.
func guarantees(t *testing.T) []string {
	t.Helper()
	ids := regexp.MustCompile(`(?m)^## (G[0-9]+)\b`).FindAllStringSubmatch(read(t, "docs/guarantees.md"), -1)
	if len(ids) == 0 {
		t.Fatal("docs/guarantees.md promises nothing: no heading begins with a number such as G1")
	}
	var all []string
	for _, id := range ids {
		all = append(all, id[1])
	}
	return all
}

// mentions finds the numbers in code and in tests. What stands below test/ is a
// test, whatever its files are called.
func mentions(t *testing.T) (kept, attacked map[string]bool) {
	t.Helper()
	kept, attacked = map[string]bool{}, map[string]bool{}
	id := regexp.MustCompile(`\bG[0-9]+\b`)
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || path == "rules_test.go" {
			return
		}
		where := kept
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/") {
			where = attacked
		}
		for _, g := range id.FindAllString(read(t, path), -1) {
			where[g] = true
		}
	})
	return kept, attacked
}

// A file that has outgrown this has a noun missing.
// TestConditionsAndMetricsAreDocumented reads both out of the code that raises and collects them.
func TestConditionsAndMetricsAreDocumented(t *testing.T) {
	page := read(t, "docs/operations/troubleshooting.md")
	code := regexp.MustCompile(`(?m)^(?:const|\t)\s*(?i:cond)[A-Z]\w*\s*= "([a-z-]+)"`)
	metric := regexp.MustCompile(`(?:NewDesc\(|Name: )"(ballast_[a-z_]+)"`)
	found := map[string]bool{}
	walk(t, func(path string) {
		if !strings.HasPrefix(path, "internal/") || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		text := read(t, path)
		for _, m := range slices.Concat(code.FindAllStringSubmatch(text, -1), metric.FindAllStringSubmatch(text, -1)) {
			found[m[1]] = true
		}
	})
	if len(found) < 40 {
		t.Errorf("found %d conditions and metrics; the test does not see them all", len(found))
	}
	for name := range found {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s is in the code and not in docs/operations/troubleshooting.md", name)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	const longest = 500
	for _, p := range packages(t) {
		for _, file := range p.files {
			if n := strings.Count(read(t, file), "\n"); n > longest {
				t.Errorf("%s has %d lines; want at most %d", file, n, longest)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
