package ballast

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize returns the size in bytes that value names, rounded up to
// [ChunkSize]: a whole number with a unit of K, M, G or T (also as GB or GiB, in
// any case), or without one, which is in GB. A unit is a power of 1024, so that
// nobody gets less than asked for, whichever they meant. Anything else is an
// [ErrInvalid]; so is zero, and what no volume can have.
func ParseSize(value string) (int64, error) {
	digits := strings.TrimRight(value, "KMGTBIkmgtbi")
	unit, err := sizeUnit(value[len(digits):])
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || strings.HasPrefix(digits, "+") || n == 0 {
		return 0, invalid("size %q: give a whole number and a unit, as 20G or 512M", clip(value))
	}
	if n > math.MaxInt64/uint64(unit) || int64(n)*unit > MaxVolumeSize {
		return 0, invalid("size %q: a volume has up to %s", clip(value), FormatSize(MaxVolumeSize))
	}
	return (int64(n)*unit + ChunkSize - 1) / ChunkSize * ChunkSize, nil
}

func sizeUnit(unit string) (int64, error) {
	letter := strings.ToUpper(unit)
	for _, end := range []string{"IB", "B"} {
		if short, ok := strings.CutSuffix(letter, end); ok && short != "" {
			letter = short
			break
		}
	}
	switch letter {
	case "K":
		return 1 << 10, nil
	case "M":
		return 1 << 20, nil
	case "", "G":
		return 1 << 30, nil
	case "T":
		return 1 << 40, nil
	}
	return 0, invalid("size unit %q: give K, M, G or T", clip(unit))
}

// FormatSize returns bytes in the largest unit that shows them exactly, as
// "10GiB"; [ParseSize] reads it back.
func FormatSize(bytes int64) string {
	units := []string{"TiB", "GiB", "MiB", "KiB"}
	for i, unit := range units {
		if size := int64(1) << (40 - 10*i); bytes >= size && bytes%size == 0 {
			return fmt.Sprintf("%d%s", bytes/size, unit)
		}
	}
	return fmt.Sprintf("%dB", bytes)
}
