package archiver

import (
	"net/url"
	"path/filepath"
	"strings"
)

// Names below the data folder.
const (
	ownDir  = "archive"     // the archive of a node that was told of no other
	keyFile = "archive.key" // its password
)

// Location says where the archive is, and who knows its password.
type Location struct {
	URL             string
	PasswordFile    string // holds the password; empty: DataDir's own, for an archive in DataDir
	PasswordCommand string // prints the password, instead of a file
	DataDir         string // of the node
}

// FolderURL returns the URL of an archive in a folder.
func FolderURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }

// OwnURL returns the URL of the archive in a data folder, which a node makes by itself.
func OwnURL(dataDir string) string { return FolderURL(filepath.Join(dataDir, ownDir)) }

// IsOwn reports whether the archive is the one in the data folder.
func (l Location) IsOwn() bool { return l.URL == OwnURL(l.DataDir) }

// MakesPassword reports whether the node keeps the archive's password itself.
func (l Location) MakesPassword() bool {
	return l.IsOwn() && l.PasswordFile == "" && l.PasswordCommand == ""
}

// IsLocal reports whether the archive is on this machine, or may be: what a
// folder is mounted from is not asked.
func (l Location) IsLocal() bool { return strings.HasPrefix(l.URL, "file:") }

// File returns where the archive's password is; empty when a command knows it.
func (l Location) File() string {
	if l.MakesPassword() {
		return filepath.Join(l.DataDir, keyFile)
	}
	return l.PasswordFile
}

// Public is the archive's URL without what might be a secret in it.
func (l Location) Public() string {
	u, err := url.Parse(l.URL)
	if err != nil {
		return "(not a URL)"
	}
	u.User = nil
	return u.String()
}
