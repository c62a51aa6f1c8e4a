package ballast

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The limits of a volume's size, in bytes.
const (
	DefaultVolumeSize = 10 << 30
	MinVolumeSize     = 16 << 20
	MinXFSVolumeSize  = 300 << 20 // mkfs.xfs makes nothing smaller
	MaxVolumeSize     = 64 << 40
)

// The limits of a volume's words, in bytes. A name has room for the 64 letters
// that Docker gives an anonymous volume and for the stack's name in front.
const (
	maxNameLen   = 128
	maxLabels    = 64
	maxLabelKey  = 128
	maxLabelText = 1024
	maxKeep      = 256
)

// knownOptions is what a refused option is answered with.
const knownOptions = `known options and defaults: size=10G (16M to 64T; a bare number is in GB), ` +
	`fs=ext4 (ext4, xfs), class=primary (scratch, cache, clustered, primary), uid=0, gid=0, mode=0755, ` +
	`repl=2 (copies in all, 1 to 5; default 2 for class primary where there are two nodes, else 1), min_copies=1 (in-sync copies below which writes wait), keep=RETENTION (as "any second for 24h, hourly 7d, daily 30d"; default the node's), label.KEY=VALUE; fstype means fs, replicas means repl`

// VolumeSpec is what a user asks of a volume. Its zero value is not valid; start
// from [DefaultVolumeSpec]. It is a value: Labels must not be changed.
type VolumeSpec struct {
	Size   int64             `json:"size"` // bytes, a multiple of [ChunkSize]
	FS     Filesystem        `json:"fs"`
	Class  Class             `json:"class"`
	UID    uint32            `json:"uid"` // owner of the filesystem's root folder
	GID    uint32            `json:"gid"`
	Mode   uint32            `json:"mode"`           // its permission bits, with setuid, setgid and sticky
	Keep   string            `json:"keep,omitempty"` // which points of its history the archive keeps; empty: as the node has it
	Labels map[string]string `json:"labels,omitempty"`

	Replicas  int `json:"replicas,omitempty"`   // copies in all that were asked for; 0: by default, see [VolumeSpec.CopiesWanted]
	MinCopies int `json:"min_copies,omitempty"` // in-sync copies below which writes wait; 0: 1, see [VolumeSpec.CopiesNeeded]
}

// DefaultVolumeSpec returns what a volume is when nothing is asked for: 10 GiB,
// thin, ext4, the only copy.
func DefaultVolumeSpec() VolumeSpec {
	return VolumeSpec{Size: DefaultVolumeSize, FS: Ext4, Class: Primary, Mode: 0o755}
}

// ParseVolumeSpec returns the volume that Docker's options ask for. An option
// that is unknown, malformed or out of range is an [ErrInvalid] that lists the
// known ones.
func ParseVolumeSpec(options map[string]string) (VolumeSpec, error) {
	return DefaultVolumeSpec().With(options)
}

// With returns s changed by options, under the rules of [ParseVolumeSpec].
func (s VolumeSpec) With(options map[string]string) (VolumeSpec, error) {
	s.Labels = maps.Clone(s.Labels)
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if err := s.set(key, options[key]); err != nil {
			return VolumeSpec{}, fmt.Errorf("%w; %s", err, knownOptions)
		}
	}
	if err := checkAliases(options); err != nil {
		return VolumeSpec{}, err
	}
	return s, s.Check()
}

// set changes one option.
func (s *VolumeSpec) set(key, value string) (err error) {
	switch key {
	case "size":
		s.Size, err = ParseSize(value)
	case "fs", "fstype":
		s.FS, err = oneOf(key, Filesystem(value), Filesystems())
	case "class":
		s.Class, err = parseClass(value)
	case "uid":
		s.UID, err = parseOwner(key, value)
	case "gid":
		s.GID, err = parseOwner(key, value)
	case "mode":
		s.Mode, err = parseMode(value)
	case "repl", "replicas":
		s.Replicas, err = parseCopies(key, value)
	case "min_copies":
		s.MinCopies, err = parseMinCopies(key, value)
	case "keep":
		s.Keep = strings.TrimSpace(value)
	default:
		err = s.setLabel(key, value)
	}
	return err
}

func (s *VolumeSpec) setLabel(key, value string) error {
	name, isLabel := strings.CutPrefix(key, "label.")
	if !isLabel {
		return invalid("there is no option %q", clip(key))
	}
	if name == "" || len(name) > maxLabelKey || len(value) > maxLabelText {
		return invalid("label %q: a label has a name of up to %d and a value of up to %d bytes", clip(name), maxLabelKey, maxLabelText)
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[name] = value
	return nil
}

// Check returns an [ErrInvalid] when s is not a volume that can be made.
func (s VolumeSpec) Check() error {
	switch {
	case s.Size%ChunkSize != 0 || s.Size < MinVolumeSize || s.Size > MaxVolumeSize:
		return invalid("size %s: a volume has between %s and %s", FormatSize(s.Size), FormatSize(MinVolumeSize), FormatSize(MaxVolumeSize))
	case s.FS == XFS && s.Size < MinXFSVolumeSize:
		return invalid("size %s: xfs needs %s or more; ask for more, or for fs=ext4", FormatSize(s.Size), FormatSize(MinXFSVolumeSize))
	case !slices.Contains(Filesystems(), s.FS):
		return invalid("there is no filesystem %q", clip(string(s.FS)))
	case !slices.Contains(Classes(), s.Class):
		return invalid("there is no class %q", clip(string(s.Class)))
	case s.Mode > 0o7777:
		return invalid("mode %o: permission bits end at 7777", s.Mode)
	case len(s.Keep) > maxKeep || strings.ContainsFunc(s.Keep, isNotKeepRune):
		return invalid("keep %q: a retention is written as \"any second for 24h, hourly 7d, daily 30d\", in up to %d letters", clip(s.Keep), maxKeep)
	case len(s.Labels) > maxLabels:
		return invalid("%d labels: a volume has up to %d", len(s.Labels), maxLabels)
	}
	return s.checkCopies()
}

// Equal reports whether both ask for the same volume.
func (s VolumeSpec) Equal(t VolumeSpec) bool {
	return len(s.Differences(t)) == 0
}

// Differences names the options in which t differs from s, as "size is 10GiB,
// not 20GiB".
func (s VolumeSpec) Differences(t VolumeSpec) []string {
	var diff []string
	add := func(option string, is, asked any) {
		if is != asked {
			diff = append(diff, fmt.Sprintf("%s is %v, not %v", option, is, asked))
		}
	}
	add("size", FormatSize(s.Size), FormatSize(t.Size))
	add("fs", s.FS, t.FS)
	add("class", s.Class, t.Class)
	add("uid", s.UID, t.UID)
	add("gid", s.GID, t.GID)
	add("mode", fmt.Sprintf("%04o", s.Mode), fmt.Sprintf("%04o", t.Mode))
	add("keep", strconv.Quote(s.Keep), strconv.Quote(t.Keep))
	if !s.sameCopies(t) {
		add("repl", s.copiesText(), t.copiesText())
	}
	add("min_copies", s.CopiesNeeded(), t.CopiesNeeded())
	if !maps.Equal(s.Labels, t.Labels) {
		diff = append(diff, "the labels differ")
	}
	return diff
}

// CheckVolumeName returns an [ErrInvalid] when name cannot be a volume's.
func CheckVolumeName(name string) error {
	if name == "" {
		return invalid("no volume name given")
	}
	if len(name) > maxNameLen || isNamePunct(rune(name[0])) || strings.ContainsFunc(name, isNotNameRune) {
		return invalid("volume name %q: a name starts with a letter or digit, goes on with letters, digits, '_', '.' and '-', and has up to %d of them", clip(name), maxNameLen)
	}
	return nil
}

func isNamePunct(r rune) bool { return strings.ContainsRune("_.-", r) }

func isNotNameRune(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !isNamePunct(r)
}

// isNotKeepRune tells what no retention is written with. What it says is read by
// who applies it.
func isNotKeepRune(r rune) bool { return r != ',' && r != ' ' && isNotNameRune(r) }

// checkAliases refuses an option that is given twice under two names.
func checkAliases(options map[string]string) error {
	for _, alias := range [][2]string{{"fs", "fstype"}, {"repl", "replicas"}} {
		a, hasA := options[alias[0]]
		b, hasB := options[alias[1]]
		if hasA && hasB && a != b {
			return invalid("%s=%s and %s=%s mean the same option; give one", alias[0], clip(a), alias[1], clip(b))
		}
	}
	return nil
}

func parseClass(value string) (Class, error) {
	if value == "shared" {
		return "", invalid("class shared (many writers) is not available yet")
	}
	return oneOf("class", Class(value), Classes())
}

func oneOf[T ~string](key string, value T, known []T) (T, error) {
	if !slices.Contains(known, value) {
		return "", invalid("there is no %s %q", key, clip(string(value)))
	}
	return value, nil
}

// noOwner is what the kernel takes for "leave the owner as it is".
const noOwner = 1<<32 - 1

func parseOwner(key, value string) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == noOwner {
		return 0, invalid("%s %q: give a number from 0 to %d", key, clip(value), uint32(noOwner-1))
	}
	return uint32(n), nil
}

func parseMode(value string) (uint32, error) {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o7777 {
		return 0, invalid("mode %q: give permission bits in octal, as 0755", clip(value))
	}
	return uint32(n), nil
}

func invalid(format string, args ...any) error {
	return invalidError(fmt.Sprintf(format, args...))
}

// invalidError is an [ErrInvalid] whose text says all there is to say.
type invalidError string

func (e invalidError) Error() string { return string(e) }

func (e invalidError) Is(target error) bool { return target == ErrInvalid }

// clip keeps what a stranger wrote from filling a message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
