package tail

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// Root is what the names of all objects of the log begin with.
const Root = "log/"

// Kind is what an object of the log is, by its name.
type Kind uint8

// The kinds of objects.
const (
	Other       Kind = iota // none that this release knows
	SegmentKind             // a stretch of records
	OpenKind                // what begins an epoch
	HeadKind                // what names the newest segment of an epoch
	RemovedKind             // says that the volume was removed
	LatestKind              // names the newest epoch
)

// Name is the name of an object, taken apart.
type Name struct {
	Kind        Kind
	Volume      ballast.VolumeID
	Epoch       ballast.Epoch // 0 for RemovedKind and LatestKind
	First, Last ballast.LSN   // of a SegmentKind
}

// VolumePrefix is what the names of a volume's objects begin with.
func VolumePrefix(v ballast.VolumeID) string { return Root + string(v) + "/" }

func epochPrefix(v ballast.VolumeID, e ballast.Epoch) string {
	return fmt.Sprintf("%s%016x/", VolumePrefix(v), uint64(e))
}

func (n Name) String() string {
	switch n.Kind {
	case SegmentKind:
		return fmt.Sprintf("%s%016x-%016x", epochPrefix(n.Volume, n.Epoch), uint64(n.First), uint64(n.Last))
	case OpenKind:
		return epochPrefix(n.Volume, n.Epoch) + "open"
	case HeadKind:
		return epochPrefix(n.Volume, n.Epoch) + "head"
	case RemovedKind:
		return VolumePrefix(n.Volume) + "removed"
	case LatestKind:
		return VolumePrefix(n.Volume) + "latest"
	case Other:
	}
	return VolumePrefix(n.Volume)
}

// ParseName takes a name apart. What is no name of an object of the log has the kind
// Other; its volume is set if it is in the folder of one.
func ParseName(name string) Name {
	rest, inLog := strings.CutPrefix(name, Root)
	volume, rest, _ := strings.Cut(rest, "/")
	if !inLog || !delta.IsVolumeID(ballast.VolumeID(volume)) {
		return Name{}
	}
	n := Name{Volume: ballast.VolumeID(volume)}
	folder, file, inEpoch := strings.Cut(rest, "/")
	switch {
	case !inEpoch && folder == "removed":
		n.Kind = RemovedKind
	case !inEpoch && folder == "latest":
		n.Kind = LatestKind
	case inEpoch:
		n = n.parseInEpoch(folder, file)
	}
	return n
}

func (n Name) parseInEpoch(folder, file string) Name {
	epoch, ok := parseHex(folder)
	if !ok || epoch == 0 {
		return n
	}
	n.Epoch = ballast.Epoch(epoch)
	switch file {
	case "open":
		n.Kind = OpenKind
	case "head":
		n.Kind = HeadKind
	default:
		a, b, _ := strings.Cut(file, "-")
		first, ok1 := parseHex(a)
		last, ok2 := parseHex(b)
		if ok1 && ok2 && first > 0 && first <= last {
			n.Kind, n.First, n.Last = SegmentKind, ballast.LSN(first), ballast.LSN(last)
		}
	}
	return n
}

// parseHex reads what %016x wrote, and no other spelling of the number.
func parseHex(s string) (n uint64, ok bool) {
	if len(s) != 16 || strings.ContainsAny(s, "ABCDEF") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}
