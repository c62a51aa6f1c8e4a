package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// dockerHolder begins the name of a holder that is a mount of Docker's.
const dockerHolder = "docker:"

const (
	attachmentVersion = 1
	attachmentFile    = "attachment.json"
	maxAttachmentFile = 1 << 20
	maxHolderLen      = 256
)

// hold is what one holder has of a volume.
type hold struct {
	Count int           `json:"count"`    // attaches that want a detach
	Since time.Duration `json:"since_ns"` // of the first one, by the clock since boot
}

// attachmentState is what a node remembers of a volume's attachment, in a file
// beside the volume. It outlives the agent; the holds end with the boot (A8).
type attachmentState struct {
	Version        int             `json:"version"`
	BootID         string          `json:"boot_id"`
	Epoch          ballast.Epoch   `json:"epoch"`           // highest that this node has attached under
	Since          ballast.Epoch   `json:"since,omitempty"` // first of the epochs up to Epoch that this node claimed one after the other; 0: not known
	FilesystemSize int64           `json:"filesystem_size"` // bytes that the filesystem was grown to; 0: not known
	Holders        map[string]hold `json:"holders,omitempty"`
}

// with returns the state with one more hold.
func (a attachmentState) with(holder string, now time.Duration) attachmentState {
	a.Holders = maps.Clone(a.Holders)
	if a.Holders == nil {
		a.Holders = map[string]hold{}
	}
	h := a.Holders[holder]
	if h.Count == 0 {
		h.Since = now
	}
	h.Count++
	a.Holders[holder] = h
	return a
}

// without returns the state with one hold less. A holder that has none is left
// as it is: Docker detaches again what a crash has ended.
func (a attachmentState) without(holder string) attachmentState {
	a.Holders = maps.Clone(a.Holders)
	h := a.Holders[holder]
	h.Count--
	if h.Count > 0 {
		a.Holders[holder] = h
	} else {
		delete(a.Holders, holder)
	}
	return a
}

// stale returns Docker's holders that are older than grace.
func (a attachmentState) stale(now, grace time.Duration) []string {
	var old []string
	for holder, h := range a.Holders {
		if strings.HasPrefix(holder, dockerHolder) && now-h.Since >= grace {
			old = append(old, holder)
		}
	}
	slices.Sort(old)
	return old
}

func (a attachmentState) names() []string { return slices.Sorted(maps.Keys(a.Holders)) }

// decodeAttachment reads a stored state. Holds of an earlier boot are void.
func decodeAttachment(data []byte, bootID string) (attachmentState, error) {
	var a attachmentState
	if err := json.Unmarshal(data, &a); err != nil {
		return attachmentState{}, fmt.Errorf("decode attachment: %w", err)
	}
	if a.Version != attachmentVersion {
		return attachmentState{}, fmt.Errorf("decode attachment: it has format %d, this release reads %d", a.Version, attachmentVersion)
	}
	for holder, h := range a.Holders {
		if h.Count < 1 || checkHolder(holder) != nil {
			return attachmentState{}, fmt.Errorf("decode attachment: holder %q has %d holds", holder, h.Count)
		}
	}
	if a.BootID != bootID {
		a.BootID, a.Holders = bootID, nil
	}
	return a, nil
}

func checkHolder(holder string) error {
	if holder == "" || len(holder) > maxHolderLen || strings.ContainsFunc(holder, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("holder %.64q: give a name of up to %d printable bytes: %w", holder, maxHolderLen, ballast.ErrInvalid)
	}
	return nil
}

// loadAttachment returns what is remembered of the volume in dir.
func loadAttachment(disk vfs.FS, dir, bootID string) (attachmentState, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+attachmentFile, maxAttachmentFile)
	if errors.Is(err, fs.ErrNotExist) {
		return attachmentState{Version: attachmentVersion, BootID: bootID}, nil
	}
	if err != nil {
		return attachmentState{}, err
	}
	return decodeAttachment(data, bootID)
}

func saveAttachment(disk vfs.FS, dir string, a attachmentState) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode attachment: %w", err)
	}
	return vfs.ReplaceFile(disk, dir+"/"+attachmentFile, data)
}

// sinceBoot reads the clock that no administrator sets.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0 // no Linux lacks it; holds would then never be doubted
	}
	return time.Duration(ts.Nano())
}
