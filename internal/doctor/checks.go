package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// Level is how a check came out.
type Level string

// The levels, the worst last.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Check is the answer to one question.
type Check struct {
	Name  string
	Level Level
	Says  string // what is, and what it means
	ToDo  string // what to do about it; empty when ok
}

// Examine answers every question, in the order in which they matter.
func Examine(f Facts) []Check {
	checks := []Check{
		privilege(f),
		kernel(f.Kernel),
		device("fuse", f.Fuse, "fuse"),
		device("loop", f.Loop, "loop"),
	}
	for _, p := range Tools() {
		checks = append(checks, tools(p, f.Tools))
	}
	return append(checks,
		dataFilesystem(f.Data),
		dataSpace(f.Data),
		memory(f.MemoryBytes),
		docker(f.Docker),
		pluginDir(f.PluginDir),
	)
}

// Worst returns the worst level of checks.
func Worst(checks []Check) Level {
	worst := OK
	for _, c := range checks {
		if c.Level == Fail || c.Level == Warn && worst == OK {
			worst = c.Level
		}
	}
	return worst
}

func privilege(f Facts) Check {
	const name = "privileges"
	switch {
	case !f.Root:
		return Check{name, Fail, "not root: the agent mounts filesystems", `run it with "sudo"`}
	case !f.SysAdmin:
		return Check{name, Fail, "root without CAP_SYS_ADMIN, as in a container: mounting is not allowed", "run it on the host, or in a container with --privileged"}
	case !f.SysResource:
		return Check{name, Warn, "root without CAP_SYS_RESOURCE: an ext4 volume cannot grow", "run it on the host, or with that capability; xfs volumes grow without"}
	}
	return Check{name, OK, "root, may mount and grow filesystems", ""}
}

// The kernels that matter: LOOP_CONFIGURE came with the first, parallel direct
// writes on FUSE with the second.
var (
	kernelNeeded = version{5, 8}
	kernelFast   = version{6, 2}
)

func kernel(release string) Check {
	const name = "kernel"
	v, ok := parseVersion(release)
	switch {
	case !ok:
		return Check{name, Warn, fmt.Sprintf("release %q is not understood", release), "make sure that it is " + kernelNeeded.String() + " or newer"}
	case v.before(kernelNeeded):
		return Check{name, Fail, release + " cannot set up a loop device as a volume needs it", "install kernel " + kernelFast.String() + " or newer; " + kernelNeeded.String() + " is the oldest that works"}
	case v.before(kernelFast):
		return Check{name, Warn, release + " writes to a volume one request at a time: many writers are slower than they could be", "install kernel " + kernelFast.String() + " or newer"}
	}
	return Check{name, OK, release + " has all that volumes use", ""}
}

type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }
func (v version) before(than version) bool {
	return v.major < than.major || v.major == than.major && v.minor < than.minor
}

func parseVersion(release string) (version, bool) {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = rest[:i]
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return version{a, b}, err1 == nil && err2 == nil
}

func device(name string, d Device, module string) Check {
	switch {
	case d.Missing:
		return Check{name, Fail, d.Path + " is missing: no volume can be attached", fmt.Sprintf("try \"modprobe %s\"; in a container or a small virtual machine the host has to give it", module)}
	case d.Error != "":
		return Check{name, Fail, d.Path + " cannot be opened: " + d.Error, "run it as root, on the host"}
	}
	return Check{name, OK, d.Path + " is there", ""}
}

func tools(p Package, found map[string]bool) Check {
	var missing []string
	for _, program := range p.Programs {
		if !found[program] {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return Check{p.Name, OK, strings.Join(p.Programs, ", "), ""}
	}
	level := Warn
	if p.Needed {
		level = Fail
	}
	return Check{p.Name, level, fmt.Sprintf("no %s: needed for %s", strings.Join(missing, ", "), p.For), "apt-get install " + p.Name}
}

func memory(free uint64) Check {
	const name = "memory"
	const mib = 1 << 20
	switch {
	case free == 0:
		return Check{name, Warn, "not known how much is free", "make sure that 512 MiB are"}
	case free < 128*mib:
		return Check{name, Fail, fmt.Sprintf("%d MiB free: too little for the agent and an engine", free/mib), "free memory, or raise the cgroup's limit, to 512 MiB or more"}
	case free < 512*mib:
		return Check{name, Warn, fmt.Sprintf("%d MiB free: enough for a few volumes", free/mib), "expect 100 MiB for the agent and up to 96 MiB for each attached volume under load"}
	}
	return Check{name, OK, fmt.Sprintf("%d MiB free", free/mib), ""}
}

func docker(d Docker) Check {
	const name = "docker"
	if d.Error != "" {
		return Check{name, Warn, "the Docker Engine does not answer at " + d.Socket + ": " + d.Error, `start it ("systemctl start docker"), or install it ("apt-get install docker.io")`}
	}
	return Check{name, OK, "Docker Engine " + d.Version + " answers at " + d.Socket, ""}
}

func pluginDir(d Device) Check {
	const name = "plugin folder"
	switch {
	case d.Error != "":
		return Check{name, Fail, d.Path + " cannot be written, so Docker cannot find the volume driver: " + d.Error, "run it as root, on the host"}
	case d.Missing:
		return Check{name, OK, d.Path + " will be made", ""}
	}
	return Check{name, OK, d.Path + " is where Docker looks for the volume driver", ""}
}
