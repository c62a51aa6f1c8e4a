package main

import (
	"time"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// The types below are what --json prints of the archive, under the rules of
// volume_json.go.

type pointJSON struct {
	Time  *time.Time `json:"time"`
	LSN   uint64     `json:"lsn"`
	Epoch uint64     `json:"epoch"`
}

type snapshotJSON struct {
	ID         string     `json:"id"`
	Point      *pointJSON `json:"point"`
	Tags       []string   `json:"tags"`
	SizeBytes  uint64     `json:"size_bytes"`
	AddedBytes uint64     `json:"added_bytes"`
	Node       string     `json:"node"`
	Keep       *bool      `json:"keep,omitempty"` // what retention will do with it; absent where it was not asked
	Reason     string     `json:"reason,omitempty"`
}

type windowJSON struct {
	From  *time.Time `json:"from"`
	Until *time.Time `json:"until"`
}

type archivedJSON struct {
	ArchivedUntil *time.Time   `json:"archived_until"`
	QueuedBytes   uint64       `json:"queued_bytes"`
	BehindSince   *time.Time   `json:"behind_since"`
	Error         string       `json:"error"`
	LastSnapshot  *time.Time   `json:"last_snapshot"`
	Snapshotting  bool         `json:"snapshotting"`
	TailBytes     uint64       `json:"tail_bytes"`
	Gaps          []windowJSON `json:"gaps"`
}

type hydrationJSON struct {
	TotalBytes     uint64     `json:"total_bytes"`
	MissingBytes   uint64     `json:"missing_bytes"`
	BytesPerSecond uint64     `json:"bytes_per_second"`
	Error          string     `json:"error"`
	FailingSince   *time.Time `json:"failing_since"`
}

func toPointJSON(p *ballastv1.Point) *pointJSON {
	if p == nil {
		return nil
	}
	return &pointJSON{toTime(p.GetTime()), p.GetLsn(), p.GetEpoch()}
}

func toSnapshotJSON(s *ballastv1.BaseSnapshot) snapshotJSON {
	return snapshotJSON{
		ID: s.GetId(), Point: toPointJSON(s.GetPoint()), Tags: append([]string{}, s.GetTags()...),
		SizeBytes: s.GetSizeBytes(), AddedBytes: s.GetAddedBytes(), Node: s.GetNode(),
	}
}

func windowsJSON(windows []*ballastv1.Window) []windowJSON {
	all := make([]windowJSON, 0, len(windows))
	for _, w := range windows {
		all = append(all, windowJSON{toTime(w.GetFrom()), toTime(w.GetUntil())})
	}
	return all
}

func toArchivedJSON(a *ballastv1.ArchiveState) *archivedJSON {
	if a == nil {
		return nil
	}
	return &archivedJSON{
		ArchivedUntil: toTime(a.GetArchivedUntil()), QueuedBytes: a.GetQueuedBytes(),
		BehindSince: toTime(a.GetBehindSince()), Error: a.GetError(),
		LastSnapshot: toTime(a.GetLastSnapshot()), Snapshotting: a.GetSnapshotting(),
		TailBytes: a.GetTailBytes(), Gaps: windowsJSON(a.GetGaps()),
	}
}

func toHydrationJSON(h *ballastv1.Hydration) *hydrationJSON {
	if h == nil {
		return nil
	}
	return &hydrationJSON{
		TotalBytes: h.GetTotalBytes(), MissingBytes: h.GetMissingBytes(), BytesPerSecond: h.GetBytesPerSecond(),
		Error: h.GetError(), FailingSince: toTime(h.GetFailingSince()),
	}
}
