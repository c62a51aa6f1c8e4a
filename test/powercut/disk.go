package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/device"
)

const (
	diskSize = 1 << 30 // sparse
	sector   = 512     // what a disk writes whole or not at all
)

// disk is a machine's disk, with a volatile cache: what was written and not
// synced is in pending, and a power cut keeps some of it, sector by sector. It is served
// as a file, so that a machine's kernel reaches it.
type disk struct {
	rng     *rand.Rand
	dir     string
	platter *os.File
	server  *device.Server
	stop    context.CancelFunc
	end     chan error // what serving ended with

	mu      sync.Mutex // guards pending
	pending map[int64][]byte
}

// openDisk makes a disk with an empty ext4 and serves it below dir.
func openDisk(ctx context.Context, dir string, rng *rand.Rand) (_ *disk, err error) {
	d := &disk{rng: rng, dir: filepath.Join(dir, "disk"), end: make(chan error, 1), pending: map[int64][]byte{}}
	d.platter, err = os.Create(filepath.Join(dir, "platter"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.platter.Close())
		}
	}()
	if err := errors.Join(d.platter.Truncate(diskSize), os.Mkdir(d.dir, 0o700)); err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", d.platter.Name()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format the machine's disk: %w: %s", err, out)
	}
	d.server, err = device.Mount(d.dir, d, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until close, after the machine
	d.stop = stop
	go func() { d.end <- d.server.Run(serving) }()
	return d, nil
}

// close ends the serving, also when mount namespaces of others have a copy of our
// mount. The machine must be gone.
func (d *disk) close() {
	d.stop()
	<-d.end           // how it ended is no news
	d.platter.Close() // nobody reads it again
}

// ReadAt reads what the machine wrote, synced or not.
func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.platter.ReadAt(p, off)
	for i := int64(0); i < int64(len(p)); i += sector {
		if data, ok := d.pending[off+i]; ok {
			copy(p[i:], data)
		}
	}
	return n, err
}

// WriteAt is volatile until Flush.
func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := append([]byte(nil), p...) // p is the server's
	for i := int64(0); i < int64(len(p)); i += sector {
		d.pending[off+i] = data[i : i+sector : i+sector]
	}
	return len(p), nil
}

// Flush is what the machine's kernel asks for when somebody wants to be sure. This
// machine loses no power: the file need not be synced.
func (d *disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for off, data := range d.pending {
		if _, err := d.platter.WriteAt(data, off); err != nil {
			return err
		}
	}
	clear(d.pending)
	return nil
}

// Discard is refused; a disk need not be able to.
func (d *disk) Discard(_, _ int64) error { return unix.EOPNOTSUPP }

// Size returns the size in bytes.
func (d *disk) Size() int64 { return diskSize }

// powerCut decides what of the pending writes was kept: everything, nothing, or each
// sector with the same odds. The first block holds the superblock, whose two sectors ext4
// expects to be written together, as disks of today do; it is not torn. It returns how many
// sectors were pending and dropped, and passes on the error that the cycle ended with.
func (d *disk) powerCut(cause error) (pending, dropped int, err error) {
	for d.server.InUse() {
		<-d.server.Released() // the last writes of the dead machine are still under way
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pending = len(d.pending)
	odds := [...]float64{0, 0.5, 0.5, 0.9, 1}[d.rng.IntN(5)]
	whole := d.rng.Float64() < odds
	for off, data := range d.pending {
		keep := d.rng.Float64() < odds
		if off < 4096 {
			keep = whole
		}
		if !keep {
			dropped++
			continue
		}
		if _, err := d.platter.WriteAt(data, off); err != nil {
			return pending, dropped, errors.Join(cause, err)
		}
	}
	clear(d.pending)
	return pending, dropped, cause
}
