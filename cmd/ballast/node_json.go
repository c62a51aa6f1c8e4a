package main

import (
	"time"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// The types below are what --json prints of the cluster, under the rules of
// volume_json.go.

type nodesJSON struct {
	Nodes []nodeJSON `json:"nodes"`
}

type nodeJSON struct {
	Name             string     `json:"name"`
	Address          string     `json:"address"`
	State            string     `json:"state"`
	Since            *time.Time `json:"since"`
	Version          string     `json:"version"`
	Member           bool       `json:"member"` // keeps the records
	DiskFreeBytes    uint64     `json:"disk_free_bytes"`
	DiskSizeBytes    uint64     `json:"disk_size_bytes"` // 0: not known
	Primaries        uint32     `json:"primaries"`
	Copies           uint32     `json:"copies"`
	JoinedAt         *time.Time `json:"joined_at"`
	CertificateUntil *time.Time `json:"certificate_until"` // null: only that node knows
}

func toNodesJSON(nodes []*ballastv1.Node) []nodeJSON {
	all := make([]nodeJSON, 0, len(nodes))
	for _, n := range nodes {
		all = append(all, toNodeJSON(n))
	}
	return all
}

func toNodeJSON(n *ballastv1.Node) nodeJSON {
	return nodeJSON{
		Name: n.GetName(), Address: n.GetAddress(), State: n.GetState(), Since: toTime(n.GetSince()), Version: n.GetVersion(),
		Member: n.GetMember(), DiskFreeBytes: n.GetDiskFreeBytes(), DiskSizeBytes: n.GetDiskSizeBytes(),
		Primaries: n.GetPrimaries(), Copies: n.GetCopies(),
		JoinedAt: toTime(n.GetJoinedAt()), CertificateUntil: toTime(n.GetCertificateUntil()),
	}
}

type nodeInspectJSON struct {
	nodeJSON
	Volumes []volumeJSON `json:"volumes"` // that have a copy there
}

type copyJSON struct {
	Node       string        `json:"node"`
	State      string        `json:"state"` // primary, in-sync, catching-up, hydrating, away, waiting
	InSync     bool          `json:"in_sync"`
	DurableLSN uint64        `json:"durable_lsn"` // 0: not known
	LagBytes   uint64        `json:"lag_bytes"`
	Progress   *progressJSON `json:"progress,omitempty"` // of catching up in chunks
	Since      *time.Time    `json:"since"`
	Error      string        `json:"error"`
}

type progressJSON struct {
	Step       string `json:"step"`
	DoneBytes  uint64 `json:"done_bytes"`
	TotalBytes uint64 `json:"total_bytes"`
}

type forcedJSON struct {
	At     *time.Time `json:"at"`
	From   string     `json:"from"`
	To     string     `json:"to"`
	LSN    uint64     `json:"lsn"`
	Epoch  uint64     `json:"epoch"`
	By     string     `json:"by"`     // who said so
	Reason string     `json:"reason"` // what it lost, in the words of its plan
}

func toCopiesJSON(copies []*ballastv1.Copy) []copyJSON {
	all := make([]copyJSON, 0, len(copies))
	for _, c := range copies {
		j := copyJSON{
			Node: c.GetNode(), State: c.GetState(), InSync: c.GetInSync(), DurableLSN: c.GetDurableLsn(), LagBytes: c.GetLagBytes(),
			Since: toTime(c.GetSince()), Error: c.GetError(),
		}
		if p := c.GetProgress(); p != nil {
			j.Progress = &progressJSON{p.GetStep(), p.GetDoneBytes(), p.GetTotalBytes()}
		}
		all = append(all, j)
	}
	return all
}

func toForcedJSON(forced []*ballastv1.Forced) []forcedJSON {
	all := make([]forcedJSON, 0, len(forced))
	for _, f := range forced {
		all = append(all, forcedJSON{toTime(f.GetAt()), f.GetFrom(), f.GetTo(), f.GetLsn(), f.GetEpoch(), f.GetBy(), f.GetReason()})
	}
	return all
}
