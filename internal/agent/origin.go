package agent

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
)

// fromOption is the volume option that names what a new volume begins as.
const fromOption = "from"

// moment is what a volume is to be restored to: a time, a base snapshot, or, with
// neither, the newest point there is.
type moment struct {
	at       time.Time
	snapshot string // the id or a tag of a base snapshot
}

func (m moment) isNewest() bool { return m.at.IsZero() && m.snapshot == "" }

// parseFrom reads "db", "db@10:42:06" and "db@before-upgrade". What is no time names a
// snapshot.
func parseFrom(value string, now time.Time) (name string, m moment, err error) {
	name, when, cut := strings.Cut(value, "@")
	if err := ballast.CheckVolumeName(name); err != nil {
		return "", m, fmt.Errorf("option from: %w", err)
	}
	if !cut {
		return name, m, nil
	}
	at, err := ballast.ParseMoment(when, now)
	if err == nil {
		return name, moment{at: at}, nil
	}
	if checkTag(when) != nil {
		return "", m, fmt.Errorf("option from=%.64s: %w", value, err)
	}
	return name, moment{snapshot: when}, nil
}

const maxTagLen = 64

// checkTag refuses what cannot be told from a time, or would be several tags to restic.
func checkTag(tag string) error {
	strange := func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("-_.", r)
	}
	if tag == "" || len(tag) > maxTagLen || strings.ContainsFunc(tag, strange) {
		return fmt.Errorf("tag %.64q: a tag has up to %d letters, digits, '_', '.' and '-': %w", tag, maxTagLen, ballast.ErrInvalid)
	}
	if _, err := ballast.ParseMoment(tag, time.Now()); err == nil {
		return fmt.Errorf("tag %q: it reads as a time: %w", tag, ballast.ErrInvalid)
	}
	return nil
}

// splitFrom takes the option from out of options. The others must agree with the
// volume that is restored, labels and keep excepted: what a filesystem has it has.
func splitFrom(options map[string]string) (from string, rest map[string]string) {
	from, rest = options[fromOption], maps.Clone(options)
	delete(rest, fromOption)
	return from, rest
}

// specFrom returns what a volume is that is restored from one with the spec source.
func specFrom(source ballast.VolumeSpec, options map[string]string) (ballast.VolumeSpec, error) {
	asked, err := source.With(options)
	if err == nil {
		err = archiver.CheckKeep(asked.Keep)
	}
	if err != nil {
		return asked, err
	}
	agreed := asked
	agreed.Labels, agreed.Keep = source.Labels, source.Keep
	if diff := source.Differences(agreed); len(diff) > 0 {
		return asked, fmt.Errorf("a restored volume is as the one it is restored from: %s; leave that option out: %w", strings.Join(diff, ", "), ballast.ErrInvalid)
	}
	return asked, nil
}

// acceptRestored decides whether the volume that exists is the one that is asked for
// again with the option from.
func acceptRestored(rec cluster.Record, from string, options map[string]string) error {
	if rec.Origin == nil || rec.Origin.Asked != from {
		return fmt.Errorf("volume %q exists and was not made with from=%.128s; it was left as it is: %w", rec.Name, from, ballast.ErrExists)
	}
	asked, err := rec.Spec.With(options)
	if err == nil && len(rec.Spec.Differences(asked)) > 0 {
		err = fmt.Errorf("volume %q exists and differs: %s; it was left as it is: %w", rec.Name, strings.Join(rec.Spec.Differences(asked), ", "), ballast.ErrExists)
	}
	return err
}
