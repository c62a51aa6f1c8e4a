package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/ballast-io/ballast"
)

// mountOptions of a filesystem. Nothing on a volume is a device or gains rights by
// being one; access times would turn reads into writes to the log.
func mountOptions(fs ballast.Filesystem) string {
	options := "noatime,nodev,nosuid"
	if fs == ballast.Ext4 {
		// The default of a volume's superblock may say continue, which is how damage spreads.
		options += ",errors=remount-ro"
	}
	return options
}

// mountOn mounts l at spec.Mountpoint, unless it is mounted there.
func (s served) mountOn(ctx context.Context, l loop, spec Spec, log *slog.Logger) (string, ballast.Filesystem, error) {
	mounted, err := l.mounts()
	if err != nil {
		return "", "", err
	}
	target, err := resolve(spec.Mountpoint)
	if err != nil {
		return "", "", err
	}
	if slices.ContainsFunc(mounted, func(m mount) bool { return m.target == target }) {
		return target, spec.Filesystem, nil
	}
	if spec.Filesystem == ballast.Ext4 && len(mounted) == 0 {
		if err := s.prepareExt4(ctx, l, log); err != nil {
			return "", "", err
		}
	}
	_, err = s.command(ctx, "mount", "-n", "-t", string(spec.Filesystem), "-o", mountOptions(spec.Filesystem), "--", l.path(), target)
	if err != nil {
		return "", "", fmt.Errorf("%w; the volume's data was not changed; the kernel's reason is in `dmesg`; %s", err, repairHint(spec.Filesystem))
	}
	return target, spec.Filesystem, nil
}

// resolve makes the folder of a mountpoint and names it as mountinfo will.
func resolve(mountpoint string) (string, error) {
	// No permissions: a container that runs while the volume is not mounted must
	// not write to the machine's own disk.
	if err := os.MkdirAll(filepath.Dir(mountpoint), 0o711); err != nil {
		return "", fmt.Errorf("make mountpoint: %w", err)
	}
	if err := os.Mkdir(mountpoint, 0); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make mountpoint: %w", err)
	}
	target, err := filepath.EvalSymlinks(mountpoint)
	if err != nil {
		return "", fmt.Errorf("make mountpoint: %w", err)
	}
	return filepath.Abs(target)
}

func repairHint(fs ballast.Filesystem) string {
	if fs == ballast.XFS {
		return "attach it again with `ballast check` first; `xfs_repair -n` on its device file says what is damaged"
	}
	return "attach it again with `ballast check` first; `e2fsck -fn` on its device file says what is damaged"
}

// mounts returns where l is mounted in this mount namespace, the last first.
func (l loop) mounts() ([]mount, error) {
	number, err := l.number()
	if err != nil {
		return nil, err
	}
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(m mount) bool { return m.dev != number })
	slices.Reverse(all)
	return all, nil
}

// unmount unmounts one mount of l. It wraps [ballast.ErrInUse] when files on it are open.
func (s served) unmount(ctx context.Context, l loop, m mount) error {
	_, err := s.command(ctx, "umount", "-n", "--", m.target)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil { // umount ran, and there is one thing that it refuses over
		return fmt.Errorf("unmount %s from %s: %w; `fuser -vm %s` names who has files open: %w", l.path(), m.target, err, m.target, ballast.ErrInUse)
	}
	return fmt.Errorf("unmount %s from %s: %w", l.path(), m.target, err)
}
