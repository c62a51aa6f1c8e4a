package lab

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrOff is returned when a machine's power is off.
var ErrOff = errors.New("the machine's power is off")

// PowerOff ends everything in the machine at the same moment: no program is asked, and
// none notices. Mounts, loop devices and the network go with it; the machine's folder
// stays. What programs had written and not synced is kept, as by a kernel that writes
// its pages back with its last breath; see [Machine.CutPower] for what is not.
func (m *Machine) PowerOff() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ns == nil {
		return fmt.Errorf("switch off lab machine in %s: %w", m.Dir, ErrOff)
	}
	ns := m.ns
	m.ns = nil
	if err := ns.closeAndKeep(); err != nil {
		return fmt.Errorf("switch off lab machine in %s: %w", m.Dir, err)
	}
	return nil
}

// CutPower is PowerOff that loses what was written to the machine's own disk and not
// synced: the kernel's cache goes first. The machine needs a disk ([Options.Disk]).
func (m *Machine) CutPower() error {
	if m.opts.Disk == 0 {
		return fmt.Errorf("cut the power of lab machine in %s: it has no disk of its own", m.Dir)
	}
	ns, err := m.running()
	if err == nil {
		err = loseCache(fmt.Sprintf("/proc/%d/root%s", ns.pid, m.data()))
	}
	if err != nil {
		return fmt.Errorf("cut the power of lab machine in %s: %w", m.Dir, err)
	}
	return m.PowerOff()
}

// The kernel's request to end a filesystem at once, of XFS and ext4.
const (
	goingDown      = 0x8004587d // XFS_IOC_GOINGDOWN
	withoutFlushes = 2          // XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
)

// loseCache ends the filesystem at dir: nothing is written to its disk from now on.
func loseCache(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() // a folder: nothing to lose
	if err := unix.IoctlSetPointerInt(int(f.Fd()), goingDown, withoutFlushes); err != nil {
		return fmt.Errorf("end the filesystem at %s: %w", dir, err)
	}
	return nil
}

// PowerOn starts a machine that was switched off, with its disk and its network.
// Nothing runs in it yet.
func (m *Machine) PowerOn(ctx context.Context) error {
	if err := m.boot(); err != nil {
		return fmt.Errorf("switch on lab machine in %s: %w", m.Dir, err)
	}
	if err := m.equip(ctx); err != nil {
		return fmt.Errorf("switch on lab machine in %s: %w", m.Dir, err)
	}
	return nil
}

func (m *Machine) boot() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ns != nil {
		return errors.New("it is on")
	}
	ns, err := openNamespaces(machineScript, m.Dir, m.cgroup)
	m.ns = ns
	return err
}

// equip gives a machine that was just switched on what its kernel would find: its disk,
// its network and its name for others.
func (m *Machine) equip(ctx context.Context) error {
	if err := m.mountDisk(ctx); err != nil {
		return err
	}
	if m.plug == nil {
		return nil
	}
	return m.plug(ctx)
}

// Stop stops all programs of the machine in their tracks (SIGSTOP), as a hypervisor
// does that has something better to do. Nobody in it notices until [Machine.Continue].
func (m *Machine) Stop(ctx context.Context) error { return m.signalAll(ctx, "STOP") }

// Continue lets a stopped machine go on.
func (m *Machine) Continue(ctx context.Context) error { return m.signalAll(ctx, "CONT") }

// signalAll sends a signal to every process of the machine but its first, and the one that
// listens for the machine's end.
func (m *Machine) signalAll(ctx context.Context, signal string) error {
	// The shell's own kill: it does not reach itself.
	_, err := m.Output(ctx, "sh", "-ec", `
		read -r listener </run/lab/listener
		kill -s "$1" -- -1
		kill -s CONT "$listener"`, "sh", signal)
	return err
}
