package agent

import (
	"cmp"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
)

// defaultArchiveQueue is how much of a volume's log waits for an archive that is away.
const defaultArchiveQueue = 1 << 30

// withArchive completes what is said of the archive.
func (c Config) withArchive() (Config, error) {
	if c.ArchivePasswordFile != "" && c.ArchivePasswordCommand != "" {
		return c, fmt.Errorf("start agent: a file and a command are given for the archive's password; give one: %w", ballast.ErrInvalid)
	}
	if c.ArchiveInterval < 0 || c.ArchiveQueue < 0 || c.VerifyEvery < 0 {
		return c, fmt.Errorf("start agent: the archive's interval, its queue and the time between verifications cannot be negative: %w", ballast.ErrInvalid)
	}
	c.Archive = cmp.Or(c.Archive, archiver.OwnURL(c.DataDir))
	c.ArchiveInterval = cmp.Or(c.ArchiveInterval, DefaultArchiveInterval)
	c.ArchiveQueue = cmp.Or(c.ArchiveQueue, defaultArchiveQueue)
	c.Keep = cmp.Or(c.Keep, DefaultKeep)
	if !c.archives() {
		c.ArchiveQueue = 0 // nothing waits for what never comes
	}
	if err := archiver.CheckKeep(c.Keep); err != nil {
		return c, fmt.Errorf("start agent: %w", err)
	}
	return c, nil
}

// archives reports whether there is an archive at all.
func (c Config) archives() bool { return c.Archive != NoArchive }

// location says where the archive is.
func (c Config) location() archiver.Location {
	return archiver.Location{URL: c.Archive, PasswordFile: c.ArchivePasswordFile, PasswordCommand: c.ArchivePasswordCommand, DataDir: c.DataDir}
}
