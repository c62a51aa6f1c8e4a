package agent

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/ballast-io/ballast"
)

// defaultArchiveQueue is how much of a volume's log waits for an archive that is away.
const defaultArchiveQueue = 1 << 30

// Names below the data folder.
const (
	archiveDir     = "archive"     // the archive of a node that was told of no other
	archiveKeyFile = "archive.key" // its password
)

// withArchive completes what is said of the archive.
func (c Config) withArchive() (Config, error) {
	if c.ArchivePasswordFile != "" && c.ArchivePasswordCommand != "" {
		return c, fmt.Errorf("start agent: a file and a command are given for the archive's password; give one: %w", ballast.ErrInvalid)
	}
	if c.ArchiveInterval < 0 || c.ArchiveQueue < 0 || c.VerifyEvery < 0 {
		return c, fmt.Errorf("start agent: the archive's interval, its queue and the time between verifications cannot be negative: %w", ballast.ErrInvalid)
	}
	c.Archive = cmp.Or(c.Archive, folderURL(filepath.Join(c.DataDir, archiveDir)))
	c.ArchiveInterval = cmp.Or(c.ArchiveInterval, DefaultArchiveInterval)
	c.ArchiveQueue = cmp.Or(c.ArchiveQueue, defaultArchiveQueue)
	c.Keep = cmp.Or(c.Keep, DefaultKeep)
	if !c.archives() {
		c.ArchiveQueue = 0 // nothing waits for what never comes
	}
	if err := checkKeep(c.Keep); err != nil {
		return c, fmt.Errorf("start agent: %w", err)
	}
	return c, nil
}

func folderURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }

// archives reports whether there is an archive at all.
func (c Config) archives() bool { return c.Archive != NoArchive }

// ownArchive reports whether the archive is the one in the data folder, which a node
// makes by itself.
func (c Config) ownArchive() bool {
	return c.Archive == folderURL(filepath.Join(c.DataDir, archiveDir))
}

// makesPassword reports whether the node keeps the archive's password itself.
func (c Config) makesPassword() bool {
	return c.ownArchive() && c.ArchivePasswordFile == "" && c.ArchivePasswordCommand == ""
}

// localArchive reports whether the archive is on this machine, or may be: what a
// folder is mounted from is not asked.
func (c Config) localArchive() bool { return strings.HasPrefix(c.Archive, "file:") }

// passwordFile returns where the archive's password is; empty when a command knows it.
func (c Config) passwordFile() string {
	if c.makesPassword() {
		return filepath.Join(c.DataDir, archiveKeyFile)
	}
	return c.ArchivePasswordFile
}

// publicURL is the archive's URL without what might be a secret in it.
func (c Config) publicURL() string {
	u, err := url.Parse(c.Archive)
	if err != nil {
		return "(not a URL)"
	}
	u.User = nil
	return u.String()
}

// isArchived reports whether volumes of a class have a history in the archive.
func isArchived(class ballast.Class) bool {
	switch class {
	case ballast.Primary, ballast.Clustered:
		return true
	case ballast.Scratch, ballast.Cache:
	}
	return false
}
