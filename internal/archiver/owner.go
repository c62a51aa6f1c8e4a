package archiver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ballast-io/ballast/internal/vfs"
)

// ownerFile has something random that is in no other copy of the volume: by it the archive
// knows this one for the writer of its epochs, when all else is forgotten.
const ownerFile = "archive.owner"

// ownerOf returns the owner of the copy in dir, and makes it when there is none.
func ownerOf(disk vfs.FS, dir string) (string, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+ownerFile, 1<<10)
	if err == nil {
		if owner := strings.TrimSpace(string(data)); owner != "" && len(owner) <= 64 {
			return owner, nil
		}
		err = fmt.Errorf("it has %d bytes", len(data))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read who archives the volume: %w", err)
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, says its documentation
	owner := hex.EncodeToString(raw[:])
	if err := vfs.ReplaceFile(disk, dir+"/"+ownerFile, []byte(owner+"\n")); err != nil {
		return "", fmt.Errorf("write who archives the volume: %w", err)
	}
	return owner, nil
}
