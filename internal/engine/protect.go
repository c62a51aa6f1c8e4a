package engine

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// oomScore keeps the kernel from choosing an engine when memory is short: its end
// is the end of a filesystem.
const oomScore = "-900"

// protect makes the process what a disk must be: not in the way of the memory that
// writing to it would free, and not the one to be ended when there is none. It goes on
// without what it may not do; containers and some machines keep it from root.
func protect(log *slog.Logger) {
	// Threads inherit it. Without it an allocation of ours could wait for a page to
	// be written to the filesystem that waits for us.
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0); errno != 0 {
		log.Warn("cannot become an I/O flusher; with memory short, writes may stall", "error", errno)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(oomScore), 0); err != nil {
		log.Warn("cannot protect the engine from the OOM killer", "error", err)
	}
}

// Lock takes a volume's folder for this process: no engine, and nobody else, serves it until
// unlock is called (N1). The error is [ballast.ErrInUse].
func Lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close() // nothing was written
		return nil, fmt.Errorf("another engine serves this volume: %w", ballast.ErrInUse)
	}
	return func() { f.Close() }, nil // closing unlocks
}

// readyVariable names the descriptor on which an engine tells the one who spawned it
// that it serves, or why it does not.
const readyVariable = "BALLAST_READY_FD"

// pipe is that descriptor; the zero value tells nobody.
type pipe struct{ f *os.File }

func inheritedPipe() pipe {
	if os.Getenv(readyVariable) != fmt.Sprint(readyFD) {
		return pipe{}
	}
	_ = os.Unsetenv(readyVariable) // it is for this process only; the name is well-formed
	unix.CloseOnExec(readyFD)
	return pipe{os.NewFile(readyFD, "ready")}
}

// tell may be repeated: the first word counts. Nobody listening is no error.
func (p pipe) tell(err error) {
	if p.f == nil {
		return
	}
	if err == nil {
		_, _ = p.f.WriteString(readyWord)
	} else {
		_, _ = p.f.WriteString(err.Error())
	}
	_ = p.f.Close()
}

const (
	readyFD   = 3
	readyWord = "ready"

	// maxReason bounds how much of a reason is read, in bytes.
	maxReason = math.MaxUint16
)
