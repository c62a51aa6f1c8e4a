package archiver

import (
	"fmt"

	"github.com/ballast-io/ballast"
)

// Announcer tells people how the node stands with its archive.
type Announcer struct {
	Node     Node
	Vault    *Vault
	Location Location
	Queue    int64 // bytes of a volume's log that are kept for an archive that is away
}

// Announce says how the node stands with its archive.
func (a Announcer) Announce(err error) {
	state, _, _ := a.Vault.Standing() // err is the same
	if err == nil {
		a.Node.Health.Clear("", CondArchive)
		a.Node.Quiet.Over("archive")
		a.Node.Log.Info("opened the archive", "url", a.Location.Public())
		if o, err := a.Vault.Get(); err == nil && o.Unfenced {
			a.Node.Health.Raise("", CondArchiveUnfenced, "The archive's store does not know conditional writes (If-None-Match): of two machines that recover one volume, nothing stops either.",
				"move the archive to a store that does; until then never run `ballast recover` on two machines, nor while the old one may run")
		}
		if a.Location.IsLocal() {
			a.Node.Health.Raise("", CondArchiveLocal, "The archive is on this machine: it brings volumes back as they were at a moment, and is no disaster recovery.",
				"for that, archive elsewhere: `ballast agent --archive s3://bucket/prefix?endpoint=…`")
		}
		return
	}
	a.Node.Quiet.Warn("archive", "the archive cannot be opened; volumes work on, and what they write waits in their logs", "state", string(state), "error", err)
	hint := "look at the store and the network; the archive is opened as soon as it answers"
	switch state {
	case Missing:
		hint = "if the URL is right and there never was an archive: `ballast archive init`"
	case LockedOut:
		hint = "give the right password with --archive-password-file or --archive-password-command, and start the agent again"
	case Off, Ready, Unreachable:
	}
	a.Node.Health.Raise("", CondArchive, fmt.Sprintf("Nothing is archived: %v. Volumes work on; what they write waits in their logs, up to %s each.", err, ballast.FormatSize(a.Queue)), hint)
}
