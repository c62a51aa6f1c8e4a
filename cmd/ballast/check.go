package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

func newCheck(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check VOLUME|DIR",
		Short: "verify a volume's log, image and tables on this node's disk",
		Long: `Verify everything that a volume's files on this node promise: each record of the
log, the tables, the image's length. It changes nothing, and the volume must not
be attached meanwhile. An argument with a slash in it is a volume's folder; then
no agent is needed. With damage it exits with 6.

What the filesystem on the volume promises is not looked at: the kernel and
e2fsck do that at every attach.`,
		Example:           "  ballast check db\n  ballast check /var/lib/ballast/volumes/3kq8…",
		Args:              operands("VOLUME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.volumeFolder(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			report, err := checkFolder(dir)
			if err != nil {
				return explainCheck(err, args[0], dir)
			}
			return c.printReport(dir, report, asJSON)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// volumeFolder is where the named volume's files are; a path is taken as it is.
func (c *cli) volumeFolder(ctx context.Context, arg string) (string, error) {
	if strings.ContainsRune(arg, filepath.Separator) || strings.HasPrefix(arg, ".") {
		return filepath.Clean(arg), nil
	}
	v, err := ask(ctx, askLimit, c.agent().volumes.Inspect, &ballastv1.InspectRequest{Name: arg})
	if err != nil {
		return "", withoutAgent(c.explainName(ctx, arg, err), c.socketPath())
	}
	s, err := ask(ctx, askLimit, c.agent().node.Status, &ballastv1.StatusRequest{})
	if err != nil {
		return "", err
	}
	return filepath.Join(s.GetDataDir(), "volumes", v.GetVolume().GetId()), nil
}

// withoutAgent says how a volume is checked when nobody knows names.
func withoutAgent(err error, socket string) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.code != exitNoAgent {
		return err
	}
	return &failure{exitNoAgent, f.err, fmt.Sprintf("without an agent, name the volume's folder: ballast check %s/volumes/ID", filepath.Dir(socket))}
}

// errAttached refuses to look at files that an engine writes.
var errAttached = errors.New("the volume is attached")

// checkFolder verifies the volume in dir and keeps it from being attached
// meanwhile.
func checkFolder(dir string) (volume.Report, error) {
	disk, err := vfs.OS(dir)
	if err != nil {
		return volume.Report{}, err
	}
	defer disk.Close() // read-only: nothing to lose
	unlock, err := lockFolder(dir)
	if err != nil {
		return volume.Report{}, err
	}
	defer unlock()
	return volume.Check(disk, ".")
}

// lockFolder takes the lock that an engine holds as long as it runs. A volume
// that no engine ever opened has none.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errAttached
		}
		return nil, err
	}
	return func() { f.Close() }, nil // and with it the lock
}

func explainCheck(err error, arg, dir string) error {
	switch {
	case errors.Is(err, errAttached):
		return &failure{exitRefused, fmt.Errorf("%s is attached: only a volume at rest can be checked, and no copy that follows at this moment", arg),
			"stop the containers that use it (\"ballast volume inspect\" names the holders) and try again"}
	case errors.Is(err, fs.ErrNotExist):
		return &failure{exitNotFound, fmt.Errorf("no volume in %s: %w", dir, err), `try "ballast volume ls" for their names`}
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitFailed, err, `try again with "sudo"`}
	}
	return err
}
