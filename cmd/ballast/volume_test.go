package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// cmdVolume makes a volume of 16 MiB with three acknowledged writes: "volume FOLDER ID".
func cmdVolume(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: volume FOLDER ID")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	disk, err := vfs.OS(dir)
	ts.Check(err)
	defer disk.Close()
	ts.Check(volume.Create(disk, ".", volume.Identity{ID: ballast.VolumeID(args[1]), Size: 16 << 20}))
	v, err := volume.Open(disk, ".", volume.Options{Epoch: 1})
	ts.Check(err)
	for i := range int64(3) {
		_, err := v.WriteAt(make([]byte, ballast.BlockSize), i*ballast.BlockSize)
		ts.Check(err)
		ts.Check(v.Flush())
	}
	ts.Check(v.Close())
	ts.Check(os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
}

// cmdDamage flips a byte: "damage FILE OFFSET".
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE OFFSET")
	}
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	ts.Check(err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, off)
	ts.Check(err)
}

// cmdLock holds a volume's lock, as its engine does, until the script ends: "lock FOLDER".
func cmdLock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lock FOLDER")
	}
	f, err := os.OpenFile(filepath.Join(ts.MkAbs(args[0]), "lock"), os.O_RDWR, 0)
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	ts.Defer(func() { f.Close() })
}
