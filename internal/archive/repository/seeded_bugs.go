//go:build seededbugs

package repository

import (
	"encoding/binary"
	"os"
	"sync"
)

// asked is the bug that the environment asks for: a test binary with this tag shows that
// the tests find it.
var asked = bug(os.Getenv("BALLAST_SEEDED_BUG"))

func seeded(b bug) bool { return b == asked }

// counted is how much each sealer has sealed.
var (
	counting sync.Mutex
	counted  = map[*sealer]uint64{}
)

// spoil makes an IV what a bug makes of it.
func (s *sealer) spoil(iv []byte) {
	n := uint64(1)
	switch {
	case seeded(fixedIV):
	case seeded(restartIV):
		counting.Lock()
		defer counting.Unlock()
		counted[s]++
		n = counted[s]
	default:
		return
	}
	clear(iv)
	binary.BigEndian.PutUint64(iv, n)
}
