package device

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/self/mountinfo.
type mount struct {
	dev    uint64 // st_dev of what is mounted
	target string
	fstype string
}

// mounts returns what is mounted in this mount namespace, in the order of mounting.
func mounts() ([]mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close() // was only read
	return parseMountinfo(f)
}

func parseMountinfo(r io.Reader) ([]mount, error) {
	var all []mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // a path may be long, and options as well
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return all, nil
}

// parseMount reads one line, such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// in which the number of fields before the dash varies.
func parseMount(line string) (mount, error) {
	before, after, ok := strings.Cut(line, " - ")
	fields := strings.Fields(before)
	fstype, _, _ := strings.Cut(after, " ")
	if !ok || len(fields) < 6 {
		return mount{}, fmt.Errorf("list mounts: malformed line %q", line)
	}
	dev, err := parseDev(fields[2])
	if err != nil {
		return mount{}, fmt.Errorf("list mounts: %w in line %q", err, line)
	}
	return mount{dev: dev, target: unescape(fields[4]), fstype: fstype}, nil
}

// parseDev reads a device number as sysfs and mountinfo write it, 7:12.
func parseDev(s string) (uint64, error) {
	major, minor, ok := strings.Cut(s, ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("malformed device number %q", s)
	}
	return unix.Mkdev(uint32(ma), uint32(mi)), nil
}

// unescape undoes the kernel's \040 for the characters that would break a line.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
