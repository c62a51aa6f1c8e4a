package doctor

// Facts are what the doctor wants to know of a machine.
type Facts struct {
	Root        bool // effective user 0
	SysAdmin    bool // CAP_SYS_ADMIN: may mount
	SysResource bool // CAP_SYS_RESOURCE: may grow a mounted ext4

	Kernel string // uname's release

	Fuse Device
	Loop Device

	Tools map[string]bool // program → found in the search path; see [Tools]

	Data Folder

	Docker      Docker
	PluginDir   Device // where Docker looks for volume drivers; Missing: can be made
	MemoryBytes uint64 // that this process may still take; 0: not known
}

// Device is a file that must be there and usable.
type Device struct {
	Path    string
	Missing bool
	Error   string // why it cannot be opened or written; empty: it can
}

// Folder is where the data is to live, or the nearest folder above that exists.
type Folder struct {
	Path       string
	Filesystem string // ext4, xfs, tmpfs, …; a number where the name is not known; empty: not known
	ReadOnly   bool
	FreeBytes  uint64
	SizeBytes  uint64
	Error      string // why it could not be looked at
}

// Docker is what its Engine says of itself.
type Docker struct {
	Socket  string
	Version string
	Error   string // why it does not answer
}

// Tools returns the programs that Ballast calls, by the package that brings them
// and what they are for.
func Tools() []Package {
	return []Package{
		{"e2fsprogs", []string{"mkfs.ext4", "e2fsck", "resize2fs"}, "volumes with fs=ext4", true},
		{"util-linux", []string{"blkid"}, "telling a blank volume from one with data", true},
		{"mount", []string{"mount", "umount"}, "mounting volumes", true},
		{"xfsprogs", []string{"mkfs.xfs", "xfs_repair", "xfs_growfs"}, "volumes with fs=xfs", false},
	}
}

// Package is a package of the distribution (named as in Debian).
type Package struct {
	Name     string
	Programs []string
	For      string
	Needed   bool // nothing works without it
}
