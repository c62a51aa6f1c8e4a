package device

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	for _, tt := range []struct {
		name string
		line string
		want mount
		ok   bool
	}{
		{"usual", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard", mount{unix.Mkdev(254, 0), "/", "ext4"}, true},
		{"optional fields", "36 35 7:12 / /mnt2 rw shared:2 master:1 - xfs /dev/loop12 rw", mount{unix.Mkdev(7, 12), "/mnt2", "xfs"}, true},
		{"escaped", `30 27 0:40 / /a\040b\134c rw - fuse.ballast ballast rw`, mount{unix.Mkdev(0, 40), `/a b\c`, "fuse.ballast"}, true},
		{"a dash in the path", "30 27 0:40 / /a-b rw - tmpfs none rw", mount{unix.Mkdev(0, 40), "/a-b", "tmpfs"}, true},
		{"no dash", "27 1 254:0 / / rw,relatime", mount{}, false},
		{"too short", "27 1 - ext4", mount{}, false},
		{"bad device", "27 1 254 / / rw - ext4 /dev/vda rw", mount{}, false},
		{"empty", "", mount{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseMount(tt.line)
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parse = %+v, %v; want %+v, ok %t", got, err, tt.want, tt.ok)
			}
		})
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")
	f.Add(`30 27 0:40 / /a\040b\13 rw shared:1 - fuse.ballast ballast rw`)
	f.Add("\\")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseMountinfo(strings.NewReader(text))
		if err == nil && len(all) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mounts of %q", len(all), text)
		}
	})
}
