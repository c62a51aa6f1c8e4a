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
)

// recordVersion is the oldest format that can make sense of what this release
// writes. It is raised only by a change that an older release must not touch.
const recordVersion = 1

// maxRecord is the size in bytes that no record reaches.
const maxRecord = 256 << 10

// Record is what the cluster knows of a volume. It is a value: what it points
// at must not be changed.
type Record struct {
	ID        ballast.VolumeID   `json:"id"`
	Name      string             `json:"name"` // in the trash: the name it had
	Spec      ballast.VolumeSpec `json:"spec"`
	CreatedAt time.Time          `json:"created_at"`
	Epoch     ballast.Epoch      `json:"epoch"`             // of the latest attach; 0: never attached
	Primary   ballast.NodeID     `json:"primary,omitempty"` // who holds it; empty: nobody
	InSync    []ballast.NodeID   `json:"in_sync,omitempty"` // whose copy has every acknowledged write
	Formatted bool               `json:"formatted,omitempty"`
	RemovedAt time.Time          `json:"removed_at,omitzero"` // set in the trash
	Purging   bool               `json:"purging,omitempty"`   // its files may be gone: no way back
	Origin    *Origin            `json:"origin,omitempty"`    // what it was restored from; nil: it began empty

	later map[string]json.RawMessage // fields of a later release (C7)
}

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
	return r.Spec.Check()
}

// knownFields are the names that a record of this release can have.
var knownFields = []string{"version", "id", "name", "spec", "created_at", "epoch", "primary", "in_sync", "formatted", "removed_at", "purging", "origin"}

func withLaterFields(r Record, data []byte) (Record, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Record{}, fmt.Errorf("decode volume record: %w", err)
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		// encoding/json takes names in any case.
		return slices.ContainsFunc(knownFields, func(known string) bool { return bytes.EqualFold([]byte(known), []byte(name)) })
	})
	if len(fields) > 0 {
		r.later = fields
	}
	return r, nil
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
