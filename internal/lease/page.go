package lease

import (
	"fmt"
	"hash/fnv"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FileName is the lease's name in a node's data folder.
const FileName = "lease"

const (
	magic    = 0x31455341454c4c42 // "BLLEASE1"
	pageSize = 4096
)

// page is the file, as it is mapped.
type page struct {
	magic   atomic.Uint64
	boot    atomic.Uint64
	session atomic.Uint64
	until   atomic.Int64 // nanoseconds of the clock [Now]
	grace   atomic.Int64 // nanoseconds after until at which the node gives up
}

// Now reads the clock that leases are counted on, CLOCK_BOOTTIME. The system
// call cannot take long, so Go's scheduler is not told. It is a real one: of the clocks that
// need none, one stands still while the machine sleeps, and the others are set by people.
func Now() time.Duration {
	var ts unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 1<<63 - 1 // no Linux lacks it; without a clock nothing is valid
	}
	return time.Duration(ts.Nano())
}

// mapPage maps the file's page.
func mapPage(f *os.File, protection int) (*page, []byte, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, pageSize, protection, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map it: %w", err)
	}
	return (*page)(unsafe.Pointer(&mem[0])), mem, nil
}

// bootNumber tells one boot of the machine from another.
func bootNumber() (uint64, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0, fmt.Errorf("find out this boot of the machine: %w", err)
	}
	h := fnv.New64a()
	_, _ = h.Write(id) // a hash takes everything
	return h.Sum64(), nil
}
