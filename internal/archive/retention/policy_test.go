package retention

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

func TestParsePolicy(t *testing.T) {
	for _, tt := range []struct {
		text, want string // the text of the policy that it means
	}{
		{Default, Default},
		{"  any   second for 24h ,hourly 7d,  daily for 30 d ", Default},
		{"daily 30d, any-second for 1d, hourly 1w", Default},
		{"any second 30min", "any second for 30min"},
		{"yearly 10y, monthly 365d, weekly 8w", "weekly 56d, monthly 1y, yearly 10y"},
		{"hourly 36h", "hourly 36h"},
		{"hourly 60min", "hourly 1h"},
		{"yearly 200y", "yearly 200y"},
	} {
		p, err := ParsePolicy(tt.text)
		if err != nil || p.String() != tt.want {
			t.Errorf("ParsePolicy(%q) = %q, %v; want %q", tt.text, p, err, tt.want)
		}
		again, err := ParsePolicy(p.String())
		if err != nil || !slices.Equal(again, p) {
			t.Errorf("ParsePolicy(%q) = %v, %v; want %v", p.String(), again, err, p)
		}
	}
	if p, err := ParsePolicy(Default); err != nil || !slices.Equal(p, Policy{{AnySecond, 24 * time.Hour}, {Hourly, 168 * time.Hour}, {Daily, 720 * time.Hour}}) {
		t.Errorf("the default is %v, %v", p, err)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for _, text := range []string{"", " ", ",", "hourly", "hourly for", "7d", "hourly 7d,", "hourly 7d daily 30d", "hourly 7d; daily 30d",
		"hourly 7", "hourly d", "hourly 7m", "hourly 7mo", "hourly -7d", "hourly +7d", "hourly 7.5d", "hourly 0d", "hourly 201y", "hourly 99999999999d",
		"hourly 7d, hourly 8d", "every 7d", "any 7d", "any second", "any seconds for 7d", "any second for for 7d", "Hourly 7d", "hourly 7D",
		"hourly 7 d d", strings.Repeat(" ", 300) + "hourly 7d"} {
		if p, err := ParsePolicy(text); !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), "hourly, daily, weekly") {
			t.Errorf("ParsePolicy(%q) = %v, %v; want ErrInvalid and what is known", text, p, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(Default)
	f.Add("any-second 5min,weekly for 3 w")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if again, err := ParsePolicy(p.String()); err != nil || !slices.Equal(p, again) {
			t.Errorf("%q means %q, which means %q, %v", text, p, again, err)
		}
	})
}
