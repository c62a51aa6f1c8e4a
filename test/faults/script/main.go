// Command script does the same things to a volume in a folder every time, one
// after the other and on one thread, so that its n-th system call is always the same
// one. It prints what it did and what it was told:
//
//	write FIRST COUNT TAG	the blocks hold the tag now, which a later flush may acknowledge
//	flush	everything above is acknowledged
//	closed	the same, by closing the volume
//	refused WHAT: WHY	an error; the volume may be used on
//	stopped WHY	the volume says that it accepts nothing more
//	end	the script is over
//
// It is run below strace, which makes one of the calls fail, see package faults.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	blocks      = ballast.ChunkSize / ballast.BlockSize
	logCapacity = 4 * 32 << 10
	steps       = 18
)

func main() {
	// strace counts by thread and follows the first only.
	runtime.LockOSThread()
	if err := script(os.Args[1]); err != nil {
		fmt.Println("refused", err)
	}
	fmt.Println("end")
}

// script opens the volume under two epochs, so that opening and closing
// are among what fails.
func script(dir string) error {
	disk, err := vfs.OS(dir)
	if err != nil {
		return err
	}
	defer disk.Close() // every file in it is closed
	for epoch := ballast.Epoch(1); epoch <= 2; epoch++ {
		v, err := volume.Open(disk, ".", volume.Options{Epoch: epoch, LogCapacity: logCapacity})
		if err != nil {
			return err
		}
		work(v, rand.New(rand.NewPCG(uint64(epoch), 0)), uint64(epoch)*1000)
		stopped := v.Stats().Err
		if err := errors.Join(stopped, v.Close()); err != nil {
			return err // what was accepted may be gone, and is not built upon
		}
		fmt.Println("closed")
	}
	return nil
}

// work writes, discards and flushes, whatever the volume says to it.
func work(v *volume.Volume, rng *rand.Rand, tag uint64) {
	for i := range steps {
		first := rng.IntN(blocks - 4)
		count := 1 + rng.IntN(4)
		switch n := rng.IntN(10); {
		case n < 6:
			tell(fmt.Sprintf("write %d %d %d", first, count, tag+uint64(i)), write(v, first, count, tag+uint64(i)))
		case n < 8:
			tell(fmt.Sprintf("write %d %d 0", first, count), v.Discard(int64(first)*ballast.BlockSize, int64(count)*ballast.BlockSize))
		default:
			tell("flush", v.Flush())
		}
		if err := v.Stats().Err; err != nil {
			fmt.Println("stopped", err)
		}
	}
}

// tell prints what was done, or why it was not.
func tell(what string, err error) {
	if err != nil {
		what = fmt.Sprintf("refused %s: %v", what, err)
	}
	fmt.Println(what)
}

func write(v *volume.Volume, first, count int, tag uint64) error {
	p := make([]byte, count*ballast.BlockSize)
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], tag)
	}
	_, err := v.WriteAt(p, int64(first)*ballast.BlockSize)
	return err
}
