package audit

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// litter is what every container writes without anybody missing it (U2).
var litter = []string{
	"/dev", "/proc", "/sys", "/run", "/var/run", "/tmp", "/var/tmp", "/.dockerenv", "/.dockerinit",
	"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/mtab", "/etc/ld.so.cache",
	"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/.pwd.lock",
	"/root/.cache", "/root/.bash_history", "/root/.ash_history", "/root/.lesshst", "/root/.viminfo",
	"/var/lib/apt", "/var/cache/apt", "/var/cache/debconf", "/var/log/apt", "/var/log/dpkg.log", "/var/cache/apk", "/var/lock",
}

// systemFolders belong to the image: what changes there is software or its
// configuration, and a volume is not the place for it.
var systemFolders = []string{
	"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/boot", "/var/lib/dpkg", "/var/lib/rpm",
	"/etc/apk", "/etc/ssl", "/etc/alternatives", "/etc/systemd", "/etc/init.d",
}

// appFolders are the parts of systemFolders where images keep an application's
// own files.
var appFolders = []string{"/usr/share", "/usr/local", "/usr/src"}

// packageRecords change when software is installed by hand.
var packageRecords = []string{"/var/lib/dpkg", "/lib/apk/db", "/usr/lib/apk/db", "/var/lib/rpm"}

// litterNames are files that mean nothing wherever they are.
var litterNames = []string{".pid", ".lock", ".sock", ".pyc", ".swp", "~"}

// layer groups what a container wrote outside of its mounts into folders, one
// finding each.
func layer(c Container) []Finding {
	paths := written(c)
	installed := slices.ContainsFunc(paths, func(p string) bool { return under(p, packageRecords) })
	files := map[string]int{}
	for _, p := range paths {
		files[folder(p, installed)]++
	}
	var all []Finding
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		all = append(all, Finding{
			Kind: WritableLayer, Gravity: Lost, Path: dir, Files: files[dir], Bytes: c.WrittenBytes,
			Why: fmt.Sprintf("%s written into the container itself: the next container starts from the image again", wrote(files[dir])),
		})
	}
	return all
}

func wrote(n int) string {
	if n == 1 {
		return "1 file was"
	}
	return fmt.Sprintf("%d files were", n)
}

// written returns the files (and empty folders) of the writable layer that may be
// state: not litter, not in or above a mount, not deleted.
func written(c Container) []string {
	covered := slices.Clone(c.Tmpfs)
	for _, m := range c.Mounts {
		covered = append(covered, m.Target)
	}
	var paths []string
	for _, change := range c.Changed {
		if !change.Deleted {
			paths = append(paths, path.Clean(change.Path))
		}
	}
	slices.Sort(paths)
	return slices.DeleteFunc(leaves(paths), func(p string) bool {
		return isLitter(p) || under(p, covered) || isAbove(p, covered)
	})
}

// leaves drops the folders that Docker reports because something in them changed.
// paths is sorted.
func leaves(paths []string) []string {
	parents := map[string]bool{}
	for _, p := range paths {
		for dir := path.Dir(p); dir != "/" && dir != "." && !parents[dir]; dir = path.Dir(dir) {
			parents[dir] = true
		}
	}
	var all []string
	for _, p := range paths {
		if !parents[p] && p != "/" {
			all = append(all, p)
		}
	}
	return all
}

func isLitter(p string) bool {
	if under(p, litter) || strings.Contains(p, "/__pycache__/") {
		return true
	}
	return slices.ContainsFunc(litterNames, func(end string) bool { return strings.HasSuffix(p, end) })
}

// isAbove says whether p is only there to hold one of the folders.
func isAbove(p string, folders []string) bool {
	return slices.ContainsFunc(folders, func(dir string) bool { return strings.HasPrefix(dir, p+"/") })
}

// folder is where to put p on record: for state the folder to mount a volume at,
// for software one place for all of it.
func folder(p string, installed bool) string {
	if under(p, systemFolders) && (installed || !under(p, appFolders)) {
		return "/usr"
	}
	return stateFolder(p)
}

// stateFolder is the folder to mount a volume at so that p is on it: what
// belongs to the application, and no more.
func stateFolder(p string) string {
	dir := path.Dir(p)
	parts := strings.Split(strings.Trim(dir, "/"), "/")
	depth := 2
	switch {
	case under(dir, appFolders), under(dir, []string{"/var/lib", "/var/www", "/var/opt", "/var/cache", "/var/spool", "/var/log"}):
		depth = 3
	case under(dir, []string{"/data", "/root"}):
		depth = 1
	}
	return "/" + strings.Join(parts[:min(depth, len(parts))], "/")
}
