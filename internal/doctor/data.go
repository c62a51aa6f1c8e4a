package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// What the filesystem under the data folder does to a volume.
var (
	goodFilesystems     = []string{"ext4", "xfs"}
	volatileFilesystems = []string{"tmpfs", "ramfs"}
	networkFilesystems  = []string{"nfs", "cifs", "smb2", "smb", "9p", "ceph", "fuse", "afs", "gfs2", "ocfs2"}
	copyingFilesystems  = []string{"btrfs", "zfs", "bcachefs", "f2fs"}
)

func dataFilesystem(d Folder) Check {
	const name = "data folder"
	const elsewhere = `keep the data elsewhere: "ballast agent --data DIR", and ask again: "ballast doctor --data DIR"`
	is := fmt.Sprintf("%s is on %s", d.Path, d.Filesystem)
	switch fs := d.Filesystem; {
	case d.Error != "":
		return Check{name, Fail, d.Path + " cannot be used: " + d.Error, elsewhere}
	case d.ReadOnly:
		return Check{name, Fail, is + ", which is read-only", elsewhere}
	case slices.Contains(goodFilesystems, fs):
		return Check{name, OK, is, ""}
	case slices.Contains(volatileFilesystems, fs):
		return Check{name, Fail, is + ": a reboot loses everything", elsewhere}
	case fs == "overlay" || fs == "aufs":
		return Check{name, Fail, is + ": a container's own layer, which is removed with the container", elsewhere}
	case slices.Contains(networkFilesystems, fs):
		return Check{name, Fail, is + ": an fsync there is not this machine's promise to keep", elsewhere}
	case slices.Contains(copyingFilesystems, fs):
		return Check{name, Warn, is + ", which copies on each write: correct, but slower", "prefer ext4 or xfs"}
	case fs == "":
		return Check{name, Warn, "the filesystem under " + d.Path + " is not known", "prefer ext4 or xfs"}
	default:
		return Check{name, Warn, is + ", which nobody has tried", "prefer ext4 or xfs"}
	}
}

// The room that a node should have, in bytes: the log of one volume and its
// beginnings; some volumes.
const (
	spaceNeeded = 1 << 30
	spaceWanted = 10 << 30
)

func dataSpace(d Folder) Check {
	const name = "disk space"
	says := fmt.Sprintf("%s of %s free under %s", gib(d.FreeBytes), gib(d.SizeBytes), d.Path)
	switch {
	case d.Error != "":
		return Check{name, Warn, "not known: " + d.Path + " cannot be looked at", "see data folder"}
	case d.FreeBytes < spaceNeeded:
		return Check{name, Fail, says + ": not enough for one volume", "free some, or keep the data elsewhere: --data DIR"}
	case d.FreeBytes < spaceWanted:
		return Check{name, Warn, says + ": volumes take space as they fill, and stop writing when there is none", "free some, or keep the data elsewhere: --data DIR"}
	}
	return Check{name, OK, says, ""}
}

func gib(n uint64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/(1<<30)), ".0") + " GiB"
}
