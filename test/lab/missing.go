package lab

import (
	"os"
	"os/exec"
)

// Missing says in plain words what the host lacks to have lab machines; nothing
// when it lacks nothing.
func Missing() []string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, device := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(device); err != nil {
			missing = append(missing, device)
		}
	}
	for _, program := range []string{"dockerd", "docker", "mkfs.ext4", "mkfs.xfs", "losetup", "unshare", "ip", "redis-server", "/bin/busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, "the program "+program)
		}
	}
	return missing
}
