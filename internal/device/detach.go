package device

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// Detach unmounts what is mounted from the served file and frees its loop device;
// the FUSE filesystem stays. Nothing being there is no error. It wraps [ballast.ErrInUse]
// when somebody uses the filesystem still; it may then be repeated.
func Detach(ctx context.Context, deviceFile string) error {
	s, err := locate(deviceFile)
	if errors.Is(err, ballast.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", deviceFile, err)
	}
	loops, err := loopsOn(s.dev)
	if err != nil {
		return fmt.Errorf("detach %s: %w", deviceFile, err)
	}
	for _, l := range loops {
		if err := s.release(ctx, l); err != nil {
			return fmt.Errorf("detach %s: %w", deviceFile, err)
		}
	}
	return nil
}

// release unmounts l everywhere and frees it.
func (s served) release(ctx context.Context, l loop) error {
	mounted, err := l.mounts()
	if err != nil {
		return err
	}
	for _, m := range mounted {
		if err := s.unmount(ctx, l, m); err != nil {
			return err
		}
		removeMountpoint(m.target)
	}
	// Our unmounting tells nothing of the copies of the mount in other namespaces.
	busy, err := l.busy()
	if err != nil {
		return err
	}
	if busy {
		return fmt.Errorf("free %s: %s: %w", l.path(), l.holders(), ballast.ErrInUse)
	}
	return s.do(ctx, func() error { return l.unbind(ctx, s.dev) })
}

// removeMountpoint removes the empty folder that something was mounted on. With it
// go the copies of the mount that other namespaces have at the same place: a service or a
// container that got a copy of all mounts of the machine would hold it for as long as it
// lives. What a container has mounted at a place of its own stays. A folder that is not
// empty stays as well, and harms nobody.
func removeMountpoint(path string) { _ = os.Remove(path) }

// Find returns what the kernel has of a volume's device: a caller that comes back
// learns what it did before. It wraps [ballast.ErrNotFound] when there is no loop device.
func Find(deviceFile string) (Attachment, error) {
	at := Attachment{DeviceFile: deviceFile}
	s, err := locate(deviceFile)
	if err != nil {
		return at, fmt.Errorf("find device of %s: %w", deviceFile, err)
	}
	l, bound, err := s.loop()
	if err == nil && !bound {
		err = ballast.ErrNotFound
	}
	if err != nil {
		return at, fmt.Errorf("find device of %s: %w", deviceFile, err)
	}
	at.Loop = l.path()
	mounted, err := l.mounts()
	if err != nil {
		return at, fmt.Errorf("find device of %s: %w", deviceFile, err)
	}
	if len(mounted) > 0 {
		first := mounted[len(mounted)-1] // a later one is somebody's bind mount
		at.Mountpoint, at.Filesystem = first.target, ballast.Filesystem(first.fstype)
	}
	return at, nil
}

// Sweep takes away what a dead server has left: mounts, also several upon each
// other, loop devices, and the dead FUSE filesystems. What was not flushed is lost, as
// in a power cut. The caller knows that the server is dead. Sweep may be repeated. It wraps
// [ballast.ErrInUse] when, until ctx ends, a process has files open on the dead volume or
// another mount namespace holds it: the loop device then goes when they do.
func Sweep(ctx context.Context, deviceFile string) error {
	dir, err := servedDir(deviceFile)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", deviceFile, err)
	}
	var errs []error
	for {
		s, err := servedAt(dir)
		if err != nil {
			return fmt.Errorf("sweep %s: %w", deviceFile, err)
		}
		if s.dev == 0 {
			break
		}
		errs = append(errs, s.sweepLoops(ctx))
		// The FUSE filesystem goes last: its device number is how the rest is found.
		// Detached, because a loop device in use elsewhere keeps it open.
		if err := unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, fmt.Errorf("unmount dead device at %s: %w", dir, err))
			break
		}
	}
	removeMountpoint(dir)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep %s: %w", deviceFile, err)
	}
	return nil
}

func (s served) sweepLoops(ctx context.Context) error {
	loops, err := loopsOn(s.dev)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range loops {
		errs = append(errs, s.sweepLoop(ctx, l))
	}
	return errors.Join(errs...)
}

// sweepLoop is release without mercy: what has files open on the dead filesystem
// gets errors from them, and does not keep it mounted.
func (s served) sweepLoop(ctx context.Context, l loop) error {
	mounted, err := l.mounts()
	if err != nil {
		return err
	}
	for _, m := range mounted {
		if s.unmount(ctx, l, m) == nil {
			removeMountpoint(m.target)
			continue
		}
		if _, err := s.command(ctx, "umount", "-n", "-l", "--", m.target); err != nil {
			return fmt.Errorf("unmount dead volume at %s: %w", m.target, err)
		}
		removeMountpoint(m.target)
	}
	return s.do(ctx, func() error { return l.unbind(ctx, s.dev) })
}
