// Package gather looks at the machine for package doctor. It opens devices and
// reads /proc, and changes nothing.
package gather

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/doctor"
)

// Where says what to look at.
type Where struct {
	DataDir      string
	DockerSocket string // for the report
	Docker       *http.Client
	PluginDir    string
}

// Facts looks at the machine. What it cannot find out is in the facts as an
// error or as not known.
func Facts(ctx context.Context, w Where) doctor.Facts {
	return doctor.Facts{
		Root:        os.Geteuid() == 0,
		SysAdmin:    may(unix.CAP_SYS_ADMIN),
		SysResource: may(unix.CAP_SYS_RESOURCE),
		Kernel:      kernel(),
		Fuse:        device("/dev/fuse"),
		Loop:        device("/dev/loop-control"),
		Tools:       tools(),
		Data:        folder(w.DataDir),
		Docker:      docker(ctx, w),
		PluginDir:   writable(w.PluginDir),
		MemoryBytes: memory(),
	}
}

// may reports whether a capability is effective.
func may(capability int) bool {
	mask, err := strconv.ParseUint(field("/proc/self/status", "CapEff:"), 16, 64)
	return err == nil && mask&(1<<capability) != 0
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func device(path string) doctor.Device {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return doctor.Device{Path: path, Missing: true}
	case err != nil:
		return doctor.Device{Path: path, Error: reason(err)}
	}
	if err := f.Close(); err != nil {
		return doctor.Device{Path: path, Error: reason(err)}
	}
	return doctor.Device{Path: path}
}

// reason is an error without the path, which is said already.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// tools looks in the search path and where Debian keeps what root calls: a user
// who asks does not have that in the path, the agent does.
func tools() map[string]bool {
	found := map[string]bool{}
	for _, p := range doctor.Tools() {
		for _, program := range p.Programs {
			for _, name := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
				if _, err := exec.LookPath(name); err == nil {
					found[program] = true
				}
			}
		}
	}
	return found
}

// existing is the nearest of dir and the folders above it that is there.
func existing(dir string) string {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

func folder(dir string) doctor.Folder {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return doctor.Folder{Path: dir, Error: reason(err)}
	}
	f := doctor.Folder{Path: existing(dir)}
	var s unix.Statfs_t
	if err := unix.Statfs(f.Path, &s); err != nil {
		f.Error = err.Error()
		return f
	}
	f.Filesystem = filesystem(s.Type)
	f.ReadOnly = s.Flags&unix.ST_RDONLY != 0
	f.FreeBytes = s.Bavail * uint64(s.Bsize)
	f.SizeBytes = s.Blocks * uint64(s.Bsize)
	return f
}

// filesystem names what statfs numbers.
func filesystem(magic int64) string {
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", 0x2fc12fc1: "zfs",
		unix.F2FS_SUPER_MAGIC: "f2fs", 0xca451a4e: "bcachefs",
		unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
		unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "smb2", unix.SMB_SUPER_MAGIC: "smb",
		unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "ceph", unix.FUSE_SUPER_MAGIC: "fuse", unix.AFS_SUPER_MAGIC: "afs",
		unix.OCFS2_SUPER_MAGIC: "ocfs2", 0x01161970: "gfs2",
	}
	if name, ok := names[magic]; ok {
		return name
	}
	return fmt.Sprintf("%#x", magic)
}

func docker(ctx context.Context, w Where) doctor.Docker {
	d := doctor.Docker{Socket: w.DockerSocket}
	version, err := engineVersion(ctx, w.Docker)
	if err != nil {
		d.Error = rootCause(err).Error()
	}
	d.Version = version
	return d
}

func engineVersion(ctx context.Context, client *http.Client) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/version", nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() // what matters was read
	var answer struct{ Version string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return "", err
	}
	return answer.Version, nil
}

// rootCause is the error at the bottom: the request around it says nothing new.
func rootCause(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}

// writable says whether a file could be made in dir, or dir itself.
func writable(dir string) doctor.Device {
	there := existing(dir)
	d := doctor.Device{Path: dir, Missing: there != dir}
	if err := unix.Access(there, unix.W_OK); err != nil {
		d.Error = err.Error()
	}
	return d
}

// memory is what this process may still take, in bytes: what the machine has
// available or what is left in its cgroup, whichever is less.
func memory() uint64 {
	free := uint64(math.MaxUint64)
	if kib, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", "MemAvailable:"), " kB"), 10, 64); err == nil {
		free = kib << 10
	}
	free = min(free, cgroupMemory())
	if free == math.MaxUint64 {
		return 0
	}
	return free
}

// cgroupMemory is what is left below the limit of this process's (version 2)
// cgroup; without one, all there is.
func cgroupMemory() uint64 {
	group := strings.TrimPrefix(field("/proc/self/cgroup", "0:"), ":")
	dir := filepath.Join("/sys/fs/cgroup", group)
	limit, err1 := number(filepath.Join(dir, "memory.max"))
	used, err2 := number(filepath.Join(dir, "memory.current"))
	if err1 != nil || err2 != nil || used > limit {
		return math.MaxUint64
	}
	return limit - used
}

func number(file string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// field is the rest of the line of file that begins with key; nothing where there
// is none.
func field(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close() // read-only: nothing to lose
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
