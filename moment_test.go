package ballast_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones with summer time, on whatever machine this runs

	"github.com/ballast-io/ballast"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseMoment(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 11, 21, 12, 0, 30, 5, berlin)
	for _, tt := range []struct {
		name, in string
		want     time.Time
	}{
		{"earlier today", "10:42", time.Date(2026, 11, 21, 10, 42, 0, 0, berlin)},
		{"earlier today, to the second", "10:42:06", time.Date(2026, 11, 21, 10, 42, 6, 0, berlin)},
		{"an hour of one digit", "9:42", time.Date(2026, 11, 21, 9, 42, 0, 0, berlin)},
		{"this very second", "12:00:30", time.Date(2026, 11, 21, 12, 0, 30, 0, berlin)},
		{"still to come today, so yesterday", "12:00:31", time.Date(2026, 11, 20, 12, 0, 31, 0, berlin)},
		{"late last night", "23:59", time.Date(2026, 11, 20, 23, 59, 0, 0, berlin)},
		{"minutes ago", "5m ago", now.Add(-5 * time.Minute)},
		{"hours and minutes ago", "2h30m ago", now.Add(-150 * time.Minute)},
		{"days ago", "3d ago", now.Add(-72 * time.Hour)},
		{"all units", "1d1h1m1s ago", now.Add(-(25*time.Hour + time.Minute + time.Second))},
		{"nothing ago", "0s ago", now},
		{"date and minute", "2026-11-20 10:42", time.Date(2026, 11, 20, 10, 42, 0, 0, berlin)},
		{"date and second", "2026-11-20 10:42:06", time.Date(2026, 11, 20, 10, 42, 6, 0, berlin)},
		{"summer", "2026-07-01 10:42", time.Date(2026, 7, 1, 8, 42, 0, 0, time.UTC)},
		{"RFC 3339", "2026-11-20T10:42:06Z", time.Date(2026, 11, 20, 10, 42, 6, 0, time.UTC)},
		{"RFC 3339 with an offset", "2026-11-20T10:42:06+05:30", time.Date(2026, 11, 20, 5, 12, 6, 0, time.UTC)},
		{"RFC 3339 with a fraction", "2026-11-20T10:42:06.25Z", time.Date(2026, 11, 20, 10, 42, 6, 25e7, time.UTC)},
		{"now", "now", now},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ballast.ParseMoment(tt.in, now)
			if err != nil || !got.Equal(tt.want) {
				t.Errorf("ParseMoment(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseMomentRefuses(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, zone(t, "Europe/Berlin"))
	for _, tt := range []struct{ name, in, says string }{
		{"nothing", "", "known forms"},
		{"a word", "yesterday", "known forms"},
		{"a date alone", "2026-11-20", "known forms"},
		{"no such hour", "24:00", "known forms"},
		{"no such minute", "10:60", "known forms"},
		{"no such day", "2026-02-30 10:42", "known forms"},
		{"a minute of one digit", "10:4", "known forms"},
		{"a fraction without a zone", "10:42:06.5", "known forms"},
		{"a comma", "2026-11-20 10:42:06,5", "known forms"},
		{"spaces around", " 10:42", "known forms"},
		{"two spaces", "2026-11-20  10:42", "known forms"},
		{"ago without a span", " ago", "known forms"},
		{"ago alone", "ago", "known forms"},
		{"a span without a unit", "5 ago", "known forms"},
		{"an unknown unit", "5w ago", "known forms"},
		{"units the wrong way round", "5m2h ago", "known forms"},
		{"a unit twice", "5m5m ago", "known forms"},
		{"a negative span", "-5m ago", "known forms"},
		{"a signed span", "+5m ago", "known forms"},
		{"a broken span", "1.5h ago", "known forms"},
		{"a span in words", "5 minutes ago", "known forms"},
		{"a span without ago", "5m", "known forms"},
		{"the future", "2026-11-21 12:01", "still to come"},
		{"the future in another zone", "2026-11-21T12:00:00Z", "still to come"},
		{"before 1970", "1969-12-31T23:59:59Z", "that old"},
		{"a span of a thousand years", "365000d ago", "that old"},
		{"a span that no number holds", "99999999999999999999d ago", "known forms"},
		{"clocks put forward", "2026-03-29 02:30", "skipped"},
		{"clocks put back", "2026-10-25 02:30", "2026-10-25T02:30:00+01:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ballast.ParseMoment(tt.in, now)
			if !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("ParseMoment(%q) = %v, %v; want ErrInvalid saying %q", tt.in, got, err, tt.says)
			}
		})
	}
}

// FuzzParseMoment asks that a moment is never in the future, and that its RFC 3339
// form means the same.
func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"10:42", "10:42:06", "2h30m ago", "2026-11-20 10:42:06", "2026-11-20T10:42:06.25+01:00", "now"} {
		f.Add(s, int64(1_795_000_000))
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, s string, seconds int64) {
		now := time.Unix(seconds&(1<<32-1), 0).In(berlin)
		got, err := ballast.ParseMoment(s, now)
		if err != nil {
			if !errors.Is(err, ballast.ErrInvalid) {
				t.Fatalf("ParseMoment(%q) = %v; want ErrInvalid", s, err)
			}
			return
		}
		if got.After(now) || got.Unix() < 0 {
			t.Fatalf("ParseMoment(%q) = %v at %v", s, got, now)
		}
		again, err := ballast.ParseMoment(got.Format(time.RFC3339Nano), now)
		if err != nil || !again.Equal(got) {
			t.Fatalf("ParseMoment(%q) = %v, which reads as %v, %v", s, got, again, err)
		}
	})
}
