package repository

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// Snapshot is a tree that was saved, and what people know about it. Its fields
// stand in the order in which they are written.
type Snapshot struct {
	ID             ID        `json:"-"`    // the name of its file; zero until it is saved
	Time           time.Time `json:"time"` // a label
	Parent         *ID       `json:"parent,omitempty"`
	Tree           ID        `json:"tree"`
	Paths          []string  `json:"paths"`
	Hostname       string    `json:"hostname,omitempty"`
	Username       string    `json:"username,omitempty"`
	UID            uint32    `json:"uid,omitempty"`
	GID            uint32    `json:"gid,omitempty"`
	Excludes       []string  `json:"excludes,omitempty"`
	Tags           []string  `json:"tags,omitempty"`
	Original       *ID       `json:"original,omitempty"` // the first one, where tags were changed since
	ProgramVersion string    `json:"program_version,omitempty"`
	Summary        *Summary  `json:"summary,omitempty"`
}

// Summary is what saving a snapshot took.
type Summary struct {
	BackupStart         time.Time `json:"backup_start"`
	BackupEnd           time.Time `json:"backup_end"`
	FilesNew            uint      `json:"files_new"`
	FilesChanged        uint      `json:"files_changed"`
	FilesUnmodified     uint      `json:"files_unmodified"`
	DirsNew             uint      `json:"dirs_new"`
	DirsChanged         uint      `json:"dirs_changed"`
	DirsUnmodified      uint      `json:"dirs_unmodified"`
	DataBlobs           int       `json:"data_blobs"`
	TreeBlobs           int       `json:"tree_blobs"`
	DataAdded           uint64    `json:"data_added"`        // bytes
	DataAddedPacked     uint64    `json:"data_added_packed"` // bytes
	TotalFilesProcessed uint      `json:"total_files_processed"`
	TotalBytesProcessed uint64    `json:"total_bytes_processed"`
}

// encode returns the JSON of a snapshot.
func (s *Snapshot) encode() ([]byte, error) {
	stored := *s
	if stored.Paths == nil {
		stored.Paths = []string{} // restic writes a list, always
	}
	data, err := json.Marshal(&stored)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return data, nil
}

// decodeSnapshot reads what encode writes.
func decodeSnapshot(id ID, data []byte) (*Snapshot, error) {
	s := &Snapshot{}
	if err := decodeJSON(data, s); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	if s.Tree.IsZero() {
		return nil, fmt.Errorf("decode snapshot: %w: it names no tree", ballast.ErrInvalid)
	}
	s.ID = id
	return s, nil
}
