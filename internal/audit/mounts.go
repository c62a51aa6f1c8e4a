package audit

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// service examines the mounts that a service declares.
func (f *findings) service(s Service) {
	owner := Owner{Service: true, Name: s.Name}
	app := appOf(s.Image, f.args[s.Name])
	for _, m := range s.Mounts {
		found := Finding{Owner: owner, Image: s.Image, Path: m.Target, Declared: true, Source: cmp.Or(m.Name, m.Source)}
		found.Class, found.Reason = app.class(m.Target)
		switch {
		case m.Kind == VolumeMount && m.Name == "":
			found.Kind, found.Gravity = AnonymousVolume, Lost
			found.Why = "the volume has no name: every new task gets a new, empty one"
		case m.Kind == VolumeMount && f.isLocal(m):
			found.Kind = LocalVolume
			found.Gravity, found.Why = f.reach(s, "the volume is a local one")
		case m.Kind == BindMount && isState(m):
			found.Kind = HostFolder
			found.Gravity, found.Why = f.reach(s, "the folder is this host's")
		default:
			continue
		}
		f.add(found)
	}
}

// reach says whether a task of s can start where what it mounts is not.
func (f *findings) reach(s Service, what string) (Gravity, string) {
	switch pinned := pinnedBy(s.Constraints, f.Nodes); {
	case pinned != "":
		return Tied, fmt.Sprintf("%s, and %q keeps the service there: it is down for as long as that node is", what, pinned)
	case s.Global:
		return Tied, what + ", and each node has its own: a node that is lost takes its part along"
	case s.Replicas > 1:
		return Behind, what + ", and nothing pins the tasks: they see different data, and a new one may see none"
	case len(f.Nodes) == 1:
		return Tied, what + "; this is the swarm's only node: when a second joins, an update may start there with an empty folder"
	}
	return Behind, what + ", and nothing pins the service: the next update may start it on a node where the folder is empty"
}

// container examines what a running container keeps.
func (f *findings) container(c Container) {
	owner := Owner{Name: c.Name, Compose: c.Compose}
	if c.Service != "" {
		owner = Owner{Service: true, Name: c.Service}
	}
	app := appOf(c.Image, c.Args)
	for _, m := range c.Mounts {
		found := Finding{Owner: owner, Image: c.Image, Path: m.Target, Source: cmp.Or(m.Name, m.Source)}
		found.Class, found.Reason = app.class(m.Target)
		if f.mounted(c, m, &found) {
			f.add(found)
		}
	}
	for _, found := range layer(c) {
		found.Owner, found.Image = owner, c.Image
		found.Class, found.Reason = app.class(found.Path)
		f.add(found)
	}
}

// mounted judges one mount of a container, and says whether state is at risk.
func (f *findings) mounted(c Container, m Mount, found *Finding) bool {
	declared := c.Service != "" && f.known[c.Service] // the service has been judged
	switch {
	case m.Kind == VolumeMount && f.isAnonymous(m):
		found.Kind, found.Gravity = AnonymousVolume, Lost
		found.Why = anonymousWhy(c)
	case declared:
		return false
	case m.Kind == VolumeMount && f.isLocal(m):
		found.Kind = LocalVolume
		found.Gravity, found.Why = Tied, "the volume is a local one: the container can start on this host only"
		if c.Service != "" {
			found.Declared = true
			found.Gravity, found.Why = Behind, "the volume is a local one, and only a manager can say whether the service is pinned to this node"
		}
	case m.Kind == BindMount && isState(m):
		found.Kind = HostFolder
		found.Gravity, found.Why = Tied, "the folder is this host's: the container can start on this host only"
	default:
		return false
	}
	return true
}

func anonymousWhy(c Container) string {
	if c.AutoRemove || c.Service != "" {
		return "the volume has no name: it is deleted with the container, and the next one gets a new, empty one"
	}
	return "the volume has no name: the next container gets a new, empty one, and this one is for \"docker volume prune\" to delete"
}

// isAnonymous says whether Docker made up the volume's name.
func (f *findings) isAnonymous(m Mount) bool {
	return f.volumes[m.Name].Anonymous || isHex64(m.Name)
}

func isHex64(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// isLocal says whether a volume's data is on this host's disk. The local driver
// mounts network filesystems, too.
func (f *findings) isLocal(m Mount) bool {
	v := f.volumes[m.Name]
	if cmp.Or(m.Driver, v.Driver, "local") != "local" {
		return false
	}
	kind := cmp.Or(m.Options["type"], v.Options["type"])
	return !slices.Contains([]string{"nfs", "nfs4", "cifs", "smb3", "tmpfs"}, kind)
}

// machineOwn are folders and files that a container may see of its host and that
// are not its state (U2).
var machineOwn = []string{
	"/dev", "/proc", "/sys", "/run", "/var/run", "/lib/modules", "/usr/share/zoneinfo", "/usr/lib/modules",
	"/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/ssl", "/etc/passwd", "/etc/group",
	"/etc/machine-id", "/etc/os-release",
	"/var/lib/docker", "/tmp/.X11-unix",
}

// isState says whether a bind mount holds the container's own state: writable,
// not a socket, not the machine itself.
func isState(m Mount) bool {
	src := path.Clean(m.Source)
	if m.ReadOnly || src == "/" || strings.HasSuffix(src, ".sock") {
		return false
	}
	return !under(src, machineOwn)
}

// under says whether p is one of the folders or inside of one.
func under(p string, folders []string) bool {
	for _, dir := range folders {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}
