package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// recordVersion is the oldest format that can make sense of what this release
// writes. It is raised only by a change that an older release must not touch.
const recordVersion = 1

// maxRecord is the size in bytes that no record reaches.
const maxRecord = 256 << 10

// Record is what the cluster knows of a volume. It is a value: what it points
// at must not be changed.
type Record struct {
	ID        ballast.VolumeID         `json:"id"`
	Name      string                   `json:"name"` // in the trash: the name it had
	Spec      ballast.VolumeSpec       `json:"spec"`
	CreatedAt time.Time                `json:"created_at"`
	Epoch     ballast.Epoch            `json:"epoch"`             // of the latest attach; 0: never attached
	Primary   ballast.NodeID           `json:"primary,omitempty"` // who holds it; empty: nobody
	InSync    []ballast.NodeID         `json:"in_sync,omitempty"` // whose copy has every acknowledged write
	Copies    []ballast.NodeID         `json:"copies,omitempty"`  // who holds a copy or is to hold one; all of InSync among them
	Added     map[ballast.NodeID]int64 `json:"added,omitempty"`   // of Copies that were placed: the revision that it was decided on, to tell them from earlier ones there
	Forced    []Forced                 `json:"forced,omitempty"`  // the last times that a copy was made to count, oldest first
	Branch    replica.Branch           `json:"branch,omitzero"`   // the history that counts, as far as claims and changes of InSync told it: what a forced failover chooses by
	Formatted bool                     `json:"formatted,omitempty"`
	RemovedAt time.Time                `json:"removed_at,omitzero"` // set in the trash
	Purging   bool                     `json:"purging,omitempty"`   // its files may be gone: no way back
	Marked    bool                     `json:"marked,omitempty"`    // the archive may say that it was removed: whoever looks after it takes that back when it is no more
	Origin    *Origin                  `json:"origin,omitempty"`    // what it was restored from; nil: it began empty

	// Revision is the one of etcd that the record is as of: a later one is higher.
	// 0: it was never stored, or is from the local view of an earlier run.
	Revision int64 `json:"-"`

	later map[string]json.RawMessage // fields of a later release (C7)
}

// Forced is the operator's word that a copy shall count which may lack writes that
// were acknowledged. Claim fills in what it can know.
type Forced struct {
	At     time.Time        `json:"at"`
	By     string           `json:"by"`               // who said so
	Node   ballast.NodeID   `json:"node"`             // whose copy it is; of Claim
	Was    ballast.Epoch    `json:"was"`              // the epoch before; of Claim
	Epoch  ballast.Epoch    `json:"epoch"`            // that began with it; of Claim
	Left   []ballast.NodeID `json:"left,omitempty"`   // the in-sync copies that were set aside; of Claim
	LSN    ballast.LSN      `json:"lsn"`              // where the copy stood
	Source string           `json:"source,omitempty"` // what the copy is made of, when it is from the archive
	Reason string           `json:"reason,omitempty"` // why, in the operator's words
}

const (
	maxForced = 16 // so many are remembered
	maxNodes  = 16 // in a list of a record
)

// Origin is the moment of another volume that a volume began as.
type Origin struct {
	Volume   ballast.VolumeID `json:"volume"`
	Name     string           `json:"name"` // that it had then
	Time     time.Time        `json:"time"`
	LSN      ballast.LSN      `json:"lsn"`
	Epoch    ballast.Epoch    `json:"epoch"`
	Size     int64            `json:"size"`               // bytes
	Snapshot string           `json:"snapshot,omitempty"` // the id of the base snapshot that it is made from
	Asked    string           `json:"asked,omitempty"`    // the option from, as it was given
}

// String returns the origin as "db at 2026-11-21T10:42:06Z".
func (o *Origin) String() string {
	if o == nil {
		return ""
	}
	return fmt.Sprintf("%s at %s", o.Name, o.Time.UTC().Format(time.RFC3339))
}

// InTrash reports whether the volume was removed.
func (r Record) InTrash() bool { return !r.RemovedAt.IsZero() }

// plainRecord is a Record without its methods, for encoding/json.
type plainRecord Record

type versionedRecord struct {
	Version int `json:"version"`
	plainRecord
}

// encodeRecord returns r as it is stored.
func encodeRecord(r Record) ([]byte, error) {
	data, err := json.Marshal(versionedRecord{recordVersion, plainRecord(r)})
	if err != nil || len(r.later) == 0 {
		return data, err
	}
	fields := maps.Clone(r.later)
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// decodeRecord reads what encodeRecord of this or a later release wrote.
func decodeRecord(data []byte) (Record, error) {
	if len(data) > maxRecord {
		return Record{}, fmt.Errorf("decode volume record: %d bytes are more than a record has", len(data))
	}
	var stored versionedRecord
	if err := json.Unmarshal(data, &stored); err != nil {
		return Record{}, fmt.Errorf("decode volume record: %w", err)
	}
	if stored.Version < 1 || stored.Version > recordVersion {
		return Record{}, fmt.Errorf("decode volume record: it has format %d, this release reads up to %d: upgrade this node", stored.Version, recordVersion)
	}
	r := Record(stored.plainRecord)
	r.Copies = withNodes(r.Copies, r.InSync...) // a record of before there were several
	if err := r.check(); err != nil {
		return Record{}, fmt.Errorf("decode volume record: %w", err)
	}
	return withLaterFields(r, data)
}

// check refuses what cannot be a record, so that nothing that is made of one,
// such as a path, needs to ask again.
func (r Record) check() error {
	if !isVolumeID(string(r.ID)) {
		return fmt.Errorf("%q is no volume id", r.ID)
	}
	if err := ballast.CheckVolumeName(r.Name); err != nil {
		return err
	}
	if r.Origin != nil && !isVolumeID(string(r.Origin.Volume)) {
		return fmt.Errorf("%q is no volume id", r.Origin.Volume)
	}
	if len(r.Copies) > maxNodes || len(r.InSync) > maxNodes || len(r.Added) > maxNodes || len(r.Forced) > maxForced {
		return fmt.Errorf("it names more than %d copies, or more than %d that were forced", maxNodes, maxForced)
	}
	if !r.Branch.Valid() {
		return fmt.Errorf("its branch has %d epochs, more than a record knows", len(r.Branch.Lineage))
	}
	return r.Spec.Check()
}

// knownFields are the names that a record of this release can have.
var knownFields = []string{"version", "id", "name", "spec", "created_at", "epoch", "primary", "in_sync", "copies", "added", "forced", "branch", "formatted", "removed_at", "purging", "origin"}

func withLaterFields(r Record, data []byte) (Record, error) {
	var err error
	r.later, err = laterFields(data, knownFields)
	if err != nil {
		return Record{}, fmt.Errorf("decode volume record: %w", err)
	}
	return r, nil
}

// laterFields returns the fields of an object that are not known, or nil (C7).
func laterFields(data []byte, known []string) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		// encoding/json takes names in any case.
		return slices.ContainsFunc(known, func(known string) bool { return bytes.EqualFold([]byte(known), []byte(name)) })
	})
	if len(fields) == 0 {
		return nil, nil
	}
	return fields, nil
}

const idLen = 26

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewVolumeID returns an id that no volume has: 128 bits by chance.
func NewVolumeID() ballast.VolumeID {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, says its documentation
	return ballast.VolumeID(idEncoding.EncodeToString(raw[:]))
}

func isVolumeID(s string) bool {
	if len(s) != idLen {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r)
	})
}
