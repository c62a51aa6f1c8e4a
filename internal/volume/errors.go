package volume

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors that callers branch on.
var (
	// ErrClosed is returned by every call on a closed volume.
	ErrClosed = errors.New("volume is closed")
	// ErrStaleEpoch reports an attempt to open a volume under an epoch that is
	// not higher than its last one: somebody else has been, or is, its writer.
	ErrStaleEpoch = errors.New("epoch is not higher than the volume's")
	// ErrGap reports a batch that does not begin with the record after the last one.
	ErrGap = errors.New("records are missing in between")
	// ErrDiverged reports a copy that has folded what its leader does not have.
	ErrDiverged = errors.New("the copy's history is another one")
	// ErrRange reports an access that is not aligned to blocks, or outside of the volume.
	ErrRange = errors.New("not aligned to 4096 bytes or outside of the volume")
)

// CorruptError reports bytes that were once durable and are damaged. Asking
// again cannot help: the volume must come from a replica or the archive.
type CorruptError struct {
	File   string
	Offset int64 // bytes
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}

// isFull reports whether err says that the disk has no room. Nothing was
// claimed then, and asking again is safe.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
