package ballast

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, tt := range []struct {
		in   string
		want int64 // 0: refused
	}{
		{"20", 20 * gib},
		{"20G", 20 * gib},
		{"20g", 20 * gib},
		{"20GB", 20 * gib},
		{"20GiB", 20 * gib},
		{"20gib", 20 * gib},
		{"512M", 512 * mib},
		{"1T", 1024 * gib},
		{"64T", 64 * 1024 * gib},
		{"100K", mib}, // rounded up to a chunk
		{"1025K", 2 * mib},
		{"65T", 0},
		{"99999999999999999999", 0},
		{"9223372036854775807", 0},
		{"9007199254740993K", 0}, // overflows when multiplied
		{"0", 0},
		{"-1", 0},
		{"+1", 0},
		{"", 0},
		{"G", 0},
		{"1.5G", 0},
		{"10 G", 0},
		{"10X", 0},
		{"10B", 0},
		{"10iB", 0},
		{"10GBB", 0},
		{"0x10", 0},
		{"1_0", 0},
		{"１０", 0},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseSize(tt.in)
			if got != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("ParseSize = %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func TestParseVolumeSpec(t *testing.T) {
	def := DefaultVolumeSpec()
	with := func(change func(*VolumeSpec)) *VolumeSpec {
		s := def
		change(&s)
		return &s
	}
	for _, tt := range []struct {
		name    string
		options map[string]string
		want    *VolumeSpec // nil: refused
	}{
		{"nothing asked", nil, &def},
		{"size", map[string]string{"size": "20G"}, with(func(s *VolumeSpec) { s.Size = 20 << 30 })},
		{"too small", map[string]string{"size": "15M"}, nil},
		{"smallest", map[string]string{"size": "16M"}, with(func(s *VolumeSpec) { s.Size = 16 << 20 })},
		{"xfs", map[string]string{"fs": "xfs"}, with(func(s *VolumeSpec) { s.FS = XFS })},
		{"alias of fs", map[string]string{"fstype": "xfs"}, with(func(s *VolumeSpec) { s.FS = XFS })},
		{"alias agrees", map[string]string{"fs": "xfs", "fstype": "xfs"}, with(func(s *VolumeSpec) { s.FS = XFS })},
		{"alias disagrees", map[string]string{"fs": "ext4", "fstype": "xfs"}, nil},
		{"xfs too small", map[string]string{"fs": "xfs", "size": "200M"}, nil},
		{"unknown fs", map[string]string{"fs": "btrfs"}, nil},
		{"fs without a value", map[string]string{"fs": ""}, nil},
		{"class", map[string]string{"class": "scratch"}, with(func(s *VolumeSpec) { s.Class = Scratch })},
		{"unknown class", map[string]string{"class": "gold"}, nil},
		{"class of a later version", map[string]string{"class": "shared"}, nil},
		{"owner", map[string]string{"uid": "999", "gid": "998", "mode": "2770"}, with(func(s *VolumeSpec) { s.UID, s.GID, s.Mode = 999, 998, 0o2770 })},
		{"negative uid", map[string]string{"uid": "-1"}, nil},
		{"uid that means none", map[string]string{"uid": "4294967295"}, nil},
		{"uid by name", map[string]string{"uid": "redis"}, nil},
		{"mode not octal", map[string]string{"mode": "0888"}, nil},
		{"mode too large", map[string]string{"mode": "10000"}, nil},
		{"label", map[string]string{"label.app": "db"}, with(func(s *VolumeSpec) { s.Labels = map[string]string{"app": "db"} })},
		{"label without a name", map[string]string{"label.": "db"}, nil},
		{"label too long", map[string]string{"label.a": strings.Repeat("x", 2000)}, nil},
		{"keep", map[string]string{"keep": " any second for 24h, daily 30d "}, with(func(s *VolumeSpec) { s.Keep = "any second for 24h, daily 30d" })},
		{"keep with a line break", map[string]string{"keep": "daily\n30d"}, nil},
		{"keep too long", map[string]string{"keep": strings.Repeat("1", 300)}, nil},
		{"one copy", map[string]string{"repl": "1"}, &def},
		{"two copies", map[string]string{"replicas": "2"}, with(func(s *VolumeSpec) { s.Replicas = 2 })},
		{"no copy", map[string]string{"repl": "0"}, nil},
		{"unknown option", map[string]string{"sise": "10G"}, nil},
		{"option in capitals", map[string]string{"Size": "10G"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseVolumeSpec(tt.options)
			if tt.want == nil {
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("ParseVolumeSpec = %+v, %v; want it refused", got, err)
				}
				return
			}
			if err != nil || !got.Equal(*tt.want) {
				t.Errorf("ParseVolumeSpec = %+v, %v; want %+v", got, err, *tt.want)
			}
		})
	}
}

// A refusal must say what would have been accepted.
func TestUnknownOptionListsKnownOnes(t *testing.T) {
	_, err := ParseVolumeSpec(map[string]string{"sise": "10G"})
	for _, want := range []string{`"sise"`, "size=10G", "fs=ext4", "class=primary", "uid=0", "gid=0", "mode=0755", "label."} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}

func TestWithLeavesTheOriginalAlone(t *testing.T) {
	s, err := ParseVolumeSpec(map[string]string{"label.a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.With(map[string]string{"label.b": "2", "label.a": "3"}); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"a": "1"}; !maps.Equal(s.Labels, want) {
		t.Errorf("labels = %v; want %v", s.Labels, want)
	}
}

func TestCheckVolumeName(t *testing.T) {
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"db", true},
		{"d", true},
		{"stack_db.1-x", true},
		{"0", true},
		{strings.Repeat("a", 128), true},
		{strings.Repeat("a", 129), false},
		{"", false},
		{".", false},
		{"..", false},
		{".hidden", false},
		{"-o", false},
		{"_x", false},
		{"a/b", false},
		{"../etc", false},
		{"a b", false},
		{"a\n", false},
		{"ä", false},
		{"a\x00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckVolumeName(tt.name); (err == nil) != tt.ok {
				t.Errorf("CheckVolumeName = %v; want ok %t", err, tt.ok)
			}
		})
	}
}

func TestFormatSize(t *testing.T) {
	for in, want := range map[int64]string{10 << 30: "10GiB", 1 << 40: "1TiB", 1536 << 20: "1536MiB", 4096: "4KiB", 5: "5B", 0: "0B"} {
		if got := FormatSize(in); got != want {
			t.Errorf("FormatSize(%d) = %s; want %s", in, got, want)
		}
	}
}

func FuzzParseVolumeSpec(f *testing.F) {
	f.Add("size", "20G", "fs", "xfs")
	f.Add("label.a", "b", "mode", "0755")
	f.Add("uid", "4294967295", "class", "shared")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		s, err := ParseVolumeSpec(map[string]string{k1: v1, k2: v2})
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("refused with %v, which is no ErrInvalid", err)
			}
			return
		}
		if err := s.Check(); err != nil {
			t.Errorf("accepted %+v, which is not valid: %v", s, err)
		}
		if back, err := ParseSize(FormatSize(s.Size)); err != nil || back != s.Size {
			t.Errorf("size %d reads back as %d, %v", s.Size, back, err)
		}
	})
}

func FuzzCheckVolumeName(f *testing.F) {
	f.Add("db")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckVolumeName(name) == nil && (strings.ContainsAny(name, "/\x00 \n") || name == "." || name == ".." || len(name) > 255) {
			t.Errorf("accepted %q", name)
		}
	})
}
