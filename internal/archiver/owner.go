package archiver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// ownerFile has something random that only the copies of the volume in one cluster have: by it the
// archive knows them for the writers of its epochs, when all else is forgotten.
const ownerFile = "archive.owner"

// HasOwner reports whether the copy in dir has an owner.
func HasOwner(disk vfs.FS, dir string) bool {
	data, err := vfs.ReadFile(disk, dir+"/"+ownerFile, 1<<10)
	return err == nil && len(strings.TrimSpace(string(data))) > 0
}

// SetOwner gives the copy in dir the owner that the volume's other copies have.
func SetOwner(disk vfs.FS, dir, owner string) error {
	if owner == "" || len(owner) > 64 || strings.Trim(owner, "0123456789abcdef") != "" {
		return fmt.Errorf("owner %.80q of the volume's history: %w", owner, ballast.ErrInvalid)
	}
	if err := vfs.ReplaceFile(disk, dir+"/"+ownerFile, []byte(owner+"\n")); err != nil {
		return fmt.Errorf("write who archives the volume: %w", err)
	}
	return nil
}

// OwnerOf returns the owner of the copy in dir, and makes it when there is none.
func OwnerOf(disk vfs.FS, dir string) (string, error) {
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
