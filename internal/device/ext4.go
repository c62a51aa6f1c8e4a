package device

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/ballast-io/ballast"
)

// Where ext4's superblock stands, and what is looked at in it: Documentation/filesystems/ext4 in Linux.
const (
	ext4Superblock  = 1024
	ext4BlocksLow   = 0x4
	ext4BlockShift  = 0x18 // the block size is 1024 shifted left by this
	ext4State       = 0x3a
	ext4BlocksHigh  = 0x150
	ext4HeaderSize  = 0x154
	ext4ErrorState  = 1 << 1
	ext4LargestSize = 6 // 64 KiB
)

// ext4 is what matters here of an ext4 filesystem.
type ext4 struct {
	size   int64 // bytes
	failed bool  // it noted an error
}

func parseExt4(header []byte) ext4 {
	blocks := uint64(binary.LittleEndian.Uint32(header[ext4BlocksLow:])) |
		uint64(binary.LittleEndian.Uint32(header[ext4BlocksHigh:]))<<32
	shift := min(binary.LittleEndian.Uint32(header[ext4BlockShift:]), ext4LargestSize)
	return ext4{
		size:   int64(blocks) * (1024 << shift),
		failed: binary.LittleEndian.Uint16(header[ext4State:])&ext4ErrorState != 0,
	}
}

// prepareExt4 gets a filesystem that is not mounted ready to be: e2fsck runs only
// where ext4 itself noted an error, as its journal undoes at the mount what a crash
// leaves; and what has less room than its volume grows now, because ext4 lets only a
// process with CAP_SYS_RESOURCE do that later.
func (s served) prepareExt4(ctx context.Context, l loop, log *slog.Logger) error {
	header := make([]byte, ext4HeaderSize)
	err := s.do(ctx, func() error {
		f, err := os.Open(l.path())
		if err != nil {
			return err
		}
		defer f.Close() // was only read
		_, err = io.ReadFull(io.NewSectionReader(f, ext4Superblock, ext4HeaderSize), header)
		return err
	})
	if err != nil {
		return fmt.Errorf("look at filesystem: %w", err)
	}
	device, err := l.size()
	if err != nil {
		return err
	}
	found := parseExt4(header)
	if found.failed {
		if err := s.checkExt4(ctx, l, log); err != nil {
			return err
		}
	}
	if device-found.size >= ballast.ChunkSize {
		return s.growExt4(ctx, l, log)
	}
	return nil
}

// checkExt4 lets e2fsck make only repairs that lose nothing.
func (s served) checkExt4(ctx context.Context, l loop, log *slog.Logger) error {
	out, err := s.command(ctx, "e2fsck", "-f", "-p", l.path())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() <= 2 { // 1 and 2: all is repaired
		err = nil
	}
	if err != nil {
		return fmt.Errorf("e2fsck will not repair the filesystem alone: %w%s; nothing was mounted; %s",
			err, said(string(out)), repairHint(ballast.Ext4))
	}
	log.Info("filesystem was checked", "device", l.path(), "e2fsck", strings.TrimSpace(string(out)))
	return nil
}

// growExt4 gives the filesystem all of its device. resize2fs wants it checked first.
func (s served) growExt4(ctx context.Context, l loop, log *slog.Logger) error {
	if err := s.checkExt4(ctx, l, log); err != nil {
		return err
	}
	if _, err := s.command(ctx, "resize2fs", l.path()); err != nil {
		return fmt.Errorf("grow filesystem: %w; nothing was mounted; %s", err, repairHint(ballast.Ext4))
	}
	log.Info("filesystem has grown", "device", l.path())
	return nil
}
