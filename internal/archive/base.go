package archive

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Base is a base snapshot: a volume at one point, in the repository.
type Base struct {
	Snapshot repository.ID    `json:"snapshot"`
	Tree     repository.ID    `json:"tree"`
	Volume   ballast.VolumeID `json:"volume"`
	Name     string           `json:"name"` // of the volume, when it was taken
	Point    tail.Point       `json:"point"`
	Node     string           `json:"node"`
	Tags     []string         `json:"tags"` // the user's
	Added    int64            `json:"-"`    // bytes it added to the archive; known to [Archive.WriteBase] only
}

// The tags that Ballast sets; each but the first is KEY=VALUE.
const (
	markTag   = "ballast"
	volumeTag = "volume"
	lsnTag    = "lsn"
	epochTag  = "epoch"
	sizeTag   = "size"
)

const pathPrefix = "/ballast/" // of a snapshot, before the volume's name

// snapshotOf returns the snapshot that a base is stored as.
func snapshotOf(b *Base, program string) *repository.Snapshot {
	tags := []string{
		markTag,
		fmt.Sprintf("%s=%s", volumeTag, b.Volume),
		fmt.Sprintf("%s=%d", lsnTag, uint64(b.Point.LSN)),
		fmt.Sprintf("%s=%d", epochTag, uint64(b.Point.Epoch)),
		fmt.Sprintf("%s=%d", sizeTag, b.Point.Size),
	}
	return &repository.Snapshot{
		Time: b.Point.Time, Tree: b.Tree, Paths: []string{pathPrefix + b.Name},
		Hostname: b.Node, Username: "root", Tags: append(tags, b.Tags...), ProgramVersion: program,
	}
}

// baseOf reads a base out of its snapshot; false: it is none of ours.
func baseOf(s *repository.Snapshot) (*Base, bool) {
	if !slices.Contains(s.Tags, markTag) || len(s.Paths) != 1 {
		return nil, false
	}
	b := &Base{Snapshot: s.ID, Tree: s.Tree, Node: s.Hostname, Name: strings.TrimPrefix(s.Paths[0], pathPrefix)}
	ours := map[string]string{}
	for _, tag := range s.Tags {
		if key, value, ok := ownTag(tag); ok {
			ours[key] = value
		} else {
			b.Tags = append(b.Tags, tag)
		}
	}
	b.Volume, b.Point.Time = ballast.VolumeID(ours[volumeTag]), s.Time
	return b, b.readNumbers(ours)
}

// readNumbers reports whether the tags are whole.
func (b *Base) readNumbers(tags map[string]string) bool {
	lsn, err1 := strconv.ParseUint(tags[lsnTag], 10, 64)
	epoch, err2 := strconv.ParseUint(tags[epochTag], 10, 64)
	size, err3 := strconv.ParseInt(tags[sizeTag], 10, 64)
	b.Point.LSN, b.Point.Epoch, b.Point.Size = ballast.LSN(lsn), ballast.Epoch(epoch), size
	return err1 == nil && err2 == nil && err3 == nil && b.Volume != "" && checkSize(size) == nil
}

// ownTag splits a tag that Ballast sets.
func ownTag(tag string) (key, value string, ok bool) {
	if tag == markTag {
		return tag, "", true
	}
	key, value, ok = strings.Cut(tag, "=")
	return key, value, ok && slices.Contains([]string{volumeTag, lsnTag, epochTag, sizeTag}, key)
}

// maxTag bounds a user's tag, in bytes.
const maxTag = 128

// CheckTags returns an [ballast.ErrInvalid] when a snapshot cannot carry them.
func CheckTags(tags []string) error {
	for _, tag := range tags {
		_, _, own := ownTag(tag)
		if own || tag == "" || len(tag) > maxTag || strings.ContainsAny(tag, ",\n") {
			return fmt.Errorf("tag %q: a tag has 1 to %d bytes, no comma, and is none of Ballast's own (ballast, volume=, lsn=, epoch=, size=): %w",
				tag[:min(len(tag), maxTag)], maxTag, ballast.ErrInvalid)
		}
	}
	return nil
}

func sortBases(bases []Base) {
	slices.SortFunc(bases, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.Point.LSN, b.Point.LSN), cmp.Compare(a.Point.Epoch, b.Point.Epoch), a.Point.Time.Compare(b.Point.Time))
	})
}
