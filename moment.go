package ballast

import (
	"strconv"
	"strings"
	"time"
)

// knownMoments is what a refused moment is answered with.
const knownMoments = `known forms: 10:42 and 10:42:06 (the last time the clock showed that), "5m ago", "2h30m ago", "3d ago", ` +
	`"2026-11-20 10:42", "2026-11-20 10:42:06", 2026-11-20T10:42:06Z, 2026-11-20T10:42:06+01:00, now`

// ParseMoment returns the moment of the past that s names, seen from now. Known
// forms are:
//
//   - "10:42" and "10:42:06", the last time that clocks in now's zone showed that:
//     today or, where that is still to come, yesterday
//   - "5m ago", "2h30m ago", "3d ago": whole days (of 24 hours), hours, minutes
//     and seconds, each at most once, the largest first
//   - "2026-11-20 10:42" and "2026-11-20 10:42:06", in now's zone
//   - RFC 3339, as "2026-11-20T10:42:06+01:00", which is the only one that can
//     have a fraction of a second
//   - "now"
//
// Anything else is an [ErrInvalid] that lists these; so is a moment in the future
// or before 1970, and a time of day that the zone's clocks skipped or showed twice.
func ParseMoment(s string, now time.Time) (time.Time, error) {
	t, err := parseMoment(s, now)
	switch {
	case err != nil:
		return time.Time{}, err
	case t.After(now):
		return time.Time{}, invalid("moment %q is still to come: it is %s now", clip(s), now.Format(time.DateTime+" MST"))
	case t.Unix() < 0:
		return time.Time{}, invalid("moment %q: no volume is that old", clip(s))
	}
	return t, nil
}

func parseMoment(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if span, ok := strings.CutSuffix(s, " ago"); ok {
		return parseAgo(s, span, now)
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if strings.ContainsAny(s, ".,") || strings.Contains(s, "  ") { // which time.Parse reads unasked
		return time.Time{}, unknownMoment(s)
	}
	for _, layout := range []string{"2006-01-02 15:04", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return onClock(s, t, now.Location())
		}
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return lastShown(s, t, now)
		}
	}
	return time.Time{}, unknownMoment(s)
}

func unknownMoment(s string) error {
	return invalid("moment %q: %s", clip(s), knownMoments)
}

// lastShown returns when clocks showed a time of day last.
func lastShown(s string, clock, now time.Time) (time.Time, error) {
	year, month, day := now.Date()
	hour, minute, second := clock.Clock()
	today := time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	t, err := onClock(s, today, now.Location())
	if err == nil && t.After(now) {
		return onClock(s, today.AddDate(0, 0, -1), now.Location())
	}
	return t, err
}

// onClock returns the one moment at which clocks in zone show what a UTC clock
// shows at wall. Where there is none or two, guessing could restore the wrong hour.
func onClock(s string, wall time.Time, zone *time.Location) (time.Time, error) {
	year, month, day := wall.Date()
	hour, minute, second := wall.Clock()
	t := time.Date(year, month, day, hour, minute, second, 0, zone)
	shown := func(t time.Time) bool { return t.Format(time.DateTime) == wall.Format(time.DateTime) }
	if !shown(t) {
		return t, invalid("moment %q: clocks in %s skipped it; name a moment next to it", clip(s), zone)
	}
	for _, shift := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} {
		if shown(t.Add(shift)) {
			return t, invalid("moment %q: clocks in %s showed it twice; say which: %s or %s", clip(s), zone,
				t.Format(time.RFC3339), t.Add(shift).Format(time.RFC3339))
		}
	}
	return t, nil
}

// agoUnits are the units of a span, the largest first.
var agoUnits = []struct {
	letter  byte
	seconds int64
}{{'d', 24 * 60 * 60}, {'h', 60 * 60}, {'m', 60}, {'s', 1}}

// parseAgo returns the moment that lies a span as "2h30m" before now.
func parseAgo(s, span string, now time.Time) (time.Time, error) {
	var seconds int64
	rest := span
	for _, unit := range agoUnits {
		digits, after, found := strings.Cut(rest, string(unit.letter))
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil {
			return time.Time{}, unknownMoment(s)
		}
		seconds, rest = seconds+int64(n)*unit.seconds, after
	}
	if span == "" || rest != "" {
		return time.Time{}, unknownMoment(s)
	}
	if seconds > now.Unix() {
		return time.Time{}, invalid("moment %q: no volume is that old", clip(s))
	}
	return now.Add(-time.Duration(seconds) * time.Second), nil
}
