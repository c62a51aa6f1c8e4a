package vfs

import (
	"errors"
	"io/fs"
	"testing"
)

func TestReplaceFile(t *testing.T) {
	disk, err := OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := ReadFile(disk, "a", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v; want not exist", err)
	}
	for _, want := range []string{"one", "", "three"} {
		// What a power cut left of an earlier attempt is in nobody's way.
		if err := writeSynced(disk, "a.next", []byte("torn")); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(disk, "a", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(disk, "a", 10); err != nil || string(got) != want {
			t.Errorf("content = %q, %v; want %q", got, err, want)
		}
	}
	if _, err := ReadFile(disk, "a", 4); err == nil {
		t.Error("read a file that is larger than its limit")
	}
}
