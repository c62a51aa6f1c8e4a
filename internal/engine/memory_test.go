package engine

import (
	"slices"
	"strings"
	"testing"
)

func TestCleanPages(t *testing.T) {
	for _, tt := range []struct {
		name    string
		mapping string
		want    bool
	}{
		{"code", "00400000-00f3f000 r-xp 00000000 fe:00 1312 /usr/bin/ballast\nRss: 4 kB\nAnonymous: 0 kB\n", true},
		{"constants", "00400000-00f3f000 r--p 00b3f000 fe:00 1312 /usr/bin/a name (deleted)\nAnonymous: 0 kB\n", true},
		{"relocated and protected", "00400000-00f3f000 r--p 00b3f000 fe:00 1312 /usr/bin/ballast\nAnonymous: 8 kB\n", false},
		{"variables", "00400000-00f3f000 rw-p 018b0000 fe:00 1312 /usr/bin/ballast\nAnonymous: 0 kB\n", false},
		{"heap", "00400000-00f3f000 rw-p 00000000 00:00 0\nAnonymous: 0 kB\n", false},
		{"the kernel's", "00400000-00f3f000 r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n", false},
		{"unreadable", "00400000-00f3f000 ---p 00000000 fe:00 1312 /usr/bin/ballast\nAnonymous: 0 kB\n", false},
		{"nothing said of it", "00400000-00f3f000 r-xp 00000000 fe:00 1312 /usr/bin/ballast\n", false},
		{"nonsense", "x-y r-xp 00000000 fe:00 1312 /usr/bin/ballast\nAnonymous: 0 kB\n", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cleanPages(strings.NewReader(tt.mapping))
			var want []pages
			if tt.want {
				want = []pages{{0x400000, 0xf3f000}}
			}
			if !slices.Equal(got, want) || err != nil {
				t.Errorf("clean = %x, %v; want %x", got, err, want)
			}
		})
	}
}
