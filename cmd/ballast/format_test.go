package main

import (
	"testing"
	"time"
)

// TestSize keeps three digits and the unit.
func TestSize(t *testing.T) {
	for _, tt := range []struct {
		in   uint64
		want string
	}{
		{0, "0 B"}, {1023, "1023 B"}, {1024, "1 KiB"}, {1536, "1.5 KiB"}, {1<<20 - 1, "1 MiB"}, {10 << 30, "10 GiB"},
		{1<<40 - 1<<20, "1 TiB"}, {64 << 40, "64 TiB"}, {1<<64 - 1, "16 EiB"},
	} {
		if got := size(tt.in); got != tt.want {
			t.Errorf("size(%d) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

// TestAgo says a time in its largest unit.
func TestAgo(t *testing.T) {
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{
		{0, "just now"}, {time.Second, "1 second ago"}, {119 * time.Second, "119 seconds ago"}, {2 * time.Minute, "2 minutes ago"},
		{119 * time.Minute, "119 minutes ago"}, {47 * time.Hour, "47 hours ago"}, {72 * time.Hour, "3 days ago"}, {-72 * time.Hour, "in 3 days"}, {-72*time.Hour + time.Second, "in 3 days"},
	} {
		if got := ago(testNow, testNow.Add(-tt.in)); got != tt.want {
			t.Errorf("ago(%v) = %q; want %q", tt.in, got, tt.want)
		}
	}
	if got := ago(testNow, time.Time{}); got != "" {
		t.Errorf("ago(no time) = %q; want nothing", got)
	}
}

// TestDidYouMean names what was probably meant, and nothing when nothing is near.
func TestDidYouMean(t *testing.T) {
	for _, tt := range []struct {
		word       string
		candidates []string
		want       string
	}{
		{"db", []string{"db1", "web"}, `; did you mean "db1"?`},
		{"bd", []string{"db", "web"}, `; did you mean "db"?`},
		{"volme", []string{"volume", "version"}, `; did you mean "volume"?`},
		{"shop-postgers", []string{"shop-redis", "shop-postgres"}, `; did you mean "shop-postgres"?`},
		{"DB", []string{"db"}, `; did you mean "db"?`},
		{"a", []string{"b"}, ""},
		{"ab", []string{"xy"}, ""},
		{"db", nil, ""},
		{"", []string{"db"}, ""},
		{"größe", []string{"grösse", "x"}, `; did you mean "grösse"?`},
	} {
		if got := didYouMean(tt.word, tt.candidates); got != tt.want {
			t.Errorf("didYouMean(%q, %q) = %q; want %q", tt.word, tt.candidates, got, tt.want)
		}
	}
}

// TestEditDistance counts the keys that were missed.
func TestEditDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "axc", 1}, {"kitten", "sitting", 3},
	} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) = %d; want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestVolumeOptions merges what is said in several ways, and refuses what is said
// differently.
func TestVolumeOptions(t *testing.T) {
	got, err := volumeOptions("20G", "cache", []string{"fs=xfs", "size=20G", "label.a=b=c", "flag"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"size": "20G", "class": "cache", "fs": "xfs", "label.a": "b=c", "flag": ""}
	for k, v := range want {
		if got[k] != v || len(got) != len(want) {
			t.Errorf("volumeOptions = %q; want %q", got, want)
		}
	}
	if _, err := volumeOptions("", "", []string{"fs=xfs", "fs=ext4"}); err == nil {
		t.Error("volumeOptions accepted two filesystems")
	}
}
