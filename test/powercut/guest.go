package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
	"github.com/ballast-io/ballast/test/smallvolume"
	"github.com/ballast-io/ballast/test/workload"
)

// Places in the machine.
const (
	hostDir   = "/mnt/host"
	dataDir   = "/mnt/data"
	volumeDir = "/mnt/data/volume"
	mounted   = "/run/volume"
)

const (
	volumeSize = 512 << 20

	// Small segments, and few of them, so that the log is folded and recycled all the time.
	segmentSize = 4 << 20
	logCapacity = 8 * segmentSize
)

// guest is process 1 of a machine. It does not return: the power goes, or it
// says why it cannot go on and turns the machine off.
func guest(args []string) error {
	if os.Getpid() != 1 {
		return errors.New("the guest is started by a machine, as its process 1")
	}
	err := work(context.Background(), args[0], args[1])
	fmt.Println("@fail", strings.ReplaceAll(err.Error(), "\n", "; "))
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// work brings the machine up, reports what it finds, and runs the workload. It returns
// only with an error.
func work(ctx context.Context, disk, name string) error {
	if err := furnish(); err != nil {
		return err
	}
	if err := mountDisk(disk); err != nil {
		return err
	}
	if err := recoverVolume(ctx); err != nil {
		return err
	}
	return workload.Work(os.Stdout, mounted, name)
}

// furnish makes of a root folder a machine with a disk.
func furnish() error {
	for _, m := range []struct{ fstype, target, source string }{
		{"proc", "/proc", "proc"},
		{"sysfs", "/sys", "sys"},
		{"tmpfs", "/run", "run"},
		{"tmpfs", "/mnt", "mnt"},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, module := range []string{"fs/fuse/fuse.ko", "drivers/block/loop.ko"} {
		if err := insertModule(module); err != nil {
			return err
		}
	}
	for key, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SQLITE_TMPDIR": "/run"} {
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	return nil
}

// mountDisk mounts the disk that the outside serves in dir. Not through the machine's
// own disk driver: in Linux 6.1 that swallows flushes, so that nothing would ever be
// synced. A loop device on the file as hostfs shows it passes them on, and
// keeps what is not synced in the machine's memory besides.
func mountDisk(dir string) error {
	for _, dir := range []string{hostDir, dataDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := unix.Mount("none", hostDir, "hostfs", 0, dir); err != nil {
		return fmt.Errorf("mount the outside's folder %s: %w", dir, err)
	}
	out, err := exec.Command("losetup", "--find", "--show", filepath.Join(hostDir, device.FileName)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup: %w: %s", err, out)
	}
	if err := unix.Mount(strings.TrimSpace(string(out)), dataDir, "ext4", unix.MS_NOATIME, "errors=remount-ro"); err != nil {
		return fmt.Errorf("mount the machine's disk: %w", err)
	}
	return nil
}

// insertModule loads a module of the machine's kernel; those it needs depend on none.
func insertModule(name string) error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join("/usr/lib/uml/modules", unix.ByteSliceToString(uts.Release[:]), "kernel", name))
	if err != nil {
		return err
	}
	defer f.Close() // was only read
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("insert module %s: %w", name, err)
	}
	return nil
}

// recoverVolume checks the volume as the cut left it, attaches it, reports every
// workload's state, and checks its filesystem.
func recoverVolume(ctx context.Context) error {
	epoch, err := checkVolume()
	if err != nil {
		return err
	}
	c, err := engine.Spawn(ctx, engine.Config{Dir: volumeDir, Epoch: epoch + 1, LogCapacity: logCapacity, Queue: logCapacity})
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(volumeDir, "engine.log")) // it may say more
		return fmt.Errorf("%w: %s", err, text)
	}
	if err := c.Close(); err != nil {
		return err
	}
	if err := attach(ctx, epoch == 0); err != nil {
		return err
	}
	if err := workload.Report(os.Stdout, mounted); err != nil {
		return err
	}
	if err := detach(ctx); err != nil {
		return err
	}
	if out, err := exec.Command("e2fsck", "-fn", engine.DeviceFile(volumeDir)).CombinedOutput(); err != nil {
		return fmt.Errorf("e2fsck of the volume: %w: %s", err, out)
	}
	return attach(ctx, false)
}

// detach asks again while the volume is in use: a database that was killed may have
// left a child that is still on its way out.
func detach(ctx context.Context) error {
	const tries = 100
	var err error
	for range tries {
		if err = device.Detach(ctx, engine.DeviceFile(volumeDir)); !errors.Is(err, ballast.ErrInUse) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // between looks at what is
	}
	return err
}

func attach(ctx context.Context, mayFormat bool) error {
	_, err := device.Attach(ctx, device.Spec{
		DeviceFile: engine.DeviceFile(volumeDir), Mountpoint: mounted, Filesystem: ballast.Ext4, MayFormat: mayFormat,
	}, slog.New(slog.DiscardHandler))
	return err
}

// checkVolume makes the volume at the first boot, and verifies it at every other.
func checkVolume() (ballast.Epoch, error) {
	data, err := vfs.OS(dataDir)
	if err != nil {
		return 0, err
	}
	defer data.Close() // every file in it is closed
	if _, err := os.Stat(filepath.Join(volumeDir, "volume.json")); errors.Is(err, fs.ErrNotExist) {
		return 0, createVolume(data)
	}
	report, err := volume.Check(data, "volume")
	if err != nil {
		return 0, err
	}
	for _, damage := range report.Damage {
		return 0, fmt.Errorf("check: %w", damage)
	}
	return report.Epoch, nil
}

func createVolume(data vfs.FS) error {
	if err := data.Mkdir("volume"); err != nil {
		return err
	}
	id := volume.Identity{ID: "abcdefghijklmnopqrstuvwxyz", Size: volumeSize}
	return errors.Join(smallvolume.Create(data, "volume", id, segmentSize), data.SyncDir("."))
}
