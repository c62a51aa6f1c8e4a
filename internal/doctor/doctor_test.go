package doctor

import (
	"fmt"
	"slices"
	"testing"
)

// fit is a machine without fault.
func fit() Facts {
	f := Facts{
		Root: true, SysAdmin: true, SysResource: true, Kernel: "6.12.1-amd64",
		Fuse: Device{Path: "/dev/fuse"}, Loop: Device{Path: "/dev/loop-control"},
		Tools:       map[string]bool{},
		Data:        Folder{Path: "/var/lib/ballast", Filesystem: "ext4", FreeBytes: 50 << 30, SizeBytes: 100 << 30},
		Docker:      Docker{Socket: "/var/run/docker.sock", Version: "28.2.2"},
		PluginDir:   Device{Path: "/run/docker/plugins"},
		MemoryBytes: 4 << 30,
	}
	for _, p := range Tools() {
		for _, program := range p.Programs {
			f.Tools[program] = true
		}
	}
	return f
}

// TestExamine breaks one thing at a time, and expects that to be told and nothing
// else (M1, M2, M3).
func TestExamine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(*Facts)
		want   []string // name and level of all checks that are not ok
	}{
		{"nothing", func(*Facts) {}, nil},
		{"not root", func(f *Facts) { f.Root = false }, []string{"privileges fail"}},
		{"root in a container", func(f *Facts) { f.SysAdmin = false }, []string{"privileges fail"}},
		{"root that may not grow", func(f *Facts) { f.SysResource = false }, []string{"privileges warn"}},
		{"kernel of 2020", func(f *Facts) { f.Kernel = "5.8.0" }, []string{"kernel warn"}},
		{"kernel before that", func(f *Facts) { f.Kernel = "5.7.19-generic" }, []string{"kernel fail"}},
		{"first fast kernel", func(f *Facts) { f.Kernel = "6.2.0" }, nil},
		{"kernel of the future", func(f *Facts) { f.Kernel = "10.0" }, nil},
		{"kernel with letters", func(f *Facts) { f.Kernel = "6.19-rc1" }, nil},
		{"kernel not known", func(f *Facts) { f.Kernel = "" }, []string{"kernel warn"}},
		{"no FUSE", func(f *Facts) { f.Fuse.Missing = true }, []string{"fuse fail"}},
		{"FUSE not for us", func(f *Facts) { f.Fuse.Error = "permission denied" }, []string{"fuse fail"}},
		{"no loop", func(f *Facts) { f.Loop.Missing = true }, []string{"loop fail"}},
		{"no mkfs.ext4", func(f *Facts) { f.Tools["mkfs.ext4"] = false }, []string{"e2fsprogs fail"}},
		{"no blkid", func(f *Facts) { f.Tools["blkid"] = false }, []string{"util-linux fail"}},
		{"no xfs", func(f *Facts) { f.Tools["mkfs.xfs"] = false }, []string{"xfsprogs warn"}},
		{"data on xfs", func(f *Facts) { f.Data.Filesystem = "xfs" }, nil},
		{"data in memory", func(f *Facts) { f.Data.Filesystem = "tmpfs" }, []string{"data folder fail"}},
		{"data in a container's layer", func(f *Facts) { f.Data.Filesystem = "overlay" }, []string{"data folder fail"}},
		{"data on NFS", func(f *Facts) { f.Data.Filesystem = "nfs" }, []string{"data folder fail"}},
		{"data on btrfs", func(f *Facts) { f.Data.Filesystem = "btrfs" }, []string{"data folder warn"}},
		{"data on something new", func(f *Facts) { f.Data.Filesystem = "0x1234" }, []string{"data folder warn"}},
		{"data on something unknown", func(f *Facts) { f.Data.Filesystem = "" }, []string{"data folder warn"}},
		{"data read-only", func(f *Facts) { f.Data.ReadOnly = true }, []string{"data folder fail"}},
		{"data not reachable", func(f *Facts) { f.Data.Error = "i/o error" }, []string{"data folder fail", "disk space warn"}},
		{"disk nearly full", func(f *Facts) { f.Data.FreeBytes = 5 << 30 }, []string{"disk space warn"}},
		{"disk full", func(f *Facts) { f.Data.FreeBytes = 5 << 20 }, []string{"disk space fail"}},
		{"little memory", func(f *Facts) { f.MemoryBytes = 300 << 20 }, []string{"memory warn"}},
		{"hardly any memory", func(f *Facts) { f.MemoryBytes = 100 << 20 }, []string{"memory fail"}},
		{"memory not known", func(f *Facts) { f.MemoryBytes = 0 }, []string{"memory warn"}},
		{"no Docker", func(f *Facts) { f.Docker.Error = "connection refused" }, []string{"docker warn"}},
		{"no plugin folder yet", func(f *Facts) { f.PluginDir.Missing = true }, nil},
		{"plugin folder not writable", func(f *Facts) { f.PluginDir.Error = "read-only file system" }, []string{"plugin folder fail"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fit()
			tt.breaks(&f)
			var got []string
			for _, c := range Examine(f) {
				if (c.Level == OK) != (c.ToDo == "") || c.Says == "" {
					t.Errorf("%+v; want something to do exactly when it is not ok (M1)", c)
				}
				if c.Level != OK {
					got = append(got, fmt.Sprintf("%s %s", c.Name, c.Level))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Examine = %q; want %q", got, tt.want)
			}
		})
	}
}

// TestWorst takes a failure for worse than any number of warnings.
func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		in   []Level
		want Level
	}{
		{nil, OK}, {[]Level{OK, OK}, OK}, {[]Level{OK, Warn}, Warn}, {[]Level{Warn, Fail, Warn}, Fail}, {[]Level{Fail, OK}, Fail},
	} {
		var checks []Check
		for _, l := range tt.in {
			checks = append(checks, Check{Level: l})
		}
		if got := Worst(checks); got != tt.want {
			t.Errorf("Worst(%v) = %s; want %s", tt.in, got, tt.want)
		}
	}
}
