package audit

import (
	"path"
	"strings"
	"testing"
)

// FuzzLayer lets a container write anywhere: each file is on record once, in a
// folder that it is in (or with the software).
func FuzzLayer(f *testing.F) {
	for _, p := range []string{"/data/x", "/x", "/usr/bin/vim", "/var/lib/app/a/b", "//", "..", "", "/a\x00b/…", "/usr/share/a"} {
		f.Add(p, "/var/lib/dpkg/status")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		files := 0
		for _, found := range layer(Container{Changed: changed("/"+one, "/"+other)}) {
			files += found.Files
			if !strings.HasPrefix(found.Path, "/") || path.Clean(found.Path) != found.Path {
				t.Errorf("layer(%q, %q): folder %q", one, other, found.Path)
			}
			if p := stateFolder(path.Clean("/" + one)); p != "/" && !under(path.Clean("/"+one), []string{p}) {
				t.Errorf("stateFolder(%q) = %q; it is not in there", one, p)
			}
		}
		if files > 2 {
			t.Errorf("layer(%q, %q) counts %d files", one, other, files)
		}
	})
}

// FuzzAppOf takes any image's name and arguments.
func FuzzAppOf(f *testing.F) {
	f.Add("registry.example/library/redis:7@sha256:aa", "--save")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, image, arg string) {
		if class, why := appOf(image, []string{arg}).class("/data"); class == "" || why == "" {
			t.Errorf("appOf(%q, %q) has no class or no reason", image, arg)
		}
	})
}
