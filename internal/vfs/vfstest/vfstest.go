// Package vfstest is the conformance suite of the seam to the disk: what every
// [vfs.FS] must do, the real one and those that stand in for it.
package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/ballast-io/ballast/internal/vfs"
)

// Run holds an implementation to the contract. newFS returns an empty disk.
func Run(t *testing.T, newFS func(*testing.T) vfs.FS) {
	for name, test := range map[string]func(*testing.T, vfs.FS){
		"names":  testNames,
		"bytes":  testBytes,
		"length": testLength,
		"punch":  testPunch,
		"small":  testSmallFile,
	} {
		t.Run(name, func(t *testing.T) { test(t, newFS(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	return f
}

func testNames(t *testing.T, fsys vfs.FS) {
	if _, err := fsys.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing = %v; want ErrNotExist", err)
	}
	if err := fsys.Remove("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing = %v; want ErrNotExist", err)
	}
	must(t, fsys.Mkdir("d"))
	must(t, fsys.Mkdir("d")) // is no error
	for _, name := range []string{"d/b", "d/a", "d/c"} {
		must(t, create(t, fsys, name).Close())
	}
	if _, err := fsys.Create("d/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of what is there = %v; want ErrExist", err)
	}
	must(t, fsys.Rename("d/c", "d/a")) // replaces
	must(t, fsys.SyncDir("d"))
	names, err := fsys.List("d")
	if must(t, err); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("List = %q; want a and b", names)
	}
	if err := fsys.Link("d/b", "d/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Link to what is there = %v; want ErrExist", err)
	}
	if err := fsys.Link("d/none", "d/e"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Link of nothing = %v; want ErrNotExist", err)
	}
	must(t, fsys.Link("d/b", "d/c"))
	must(t, fsys.Remove("d/b")) // and the other name stays
	f, err := fsys.Open("d/c")
	must(t, err)
	must(t, f.Close())
	if _, err := fsys.List("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of no folder = %v; want ErrNotExist", err)
	}
}

func testBytes(t *testing.T, fsys vfs.FS) {
	f := create(t, fsys, "f")
	_, err := f.WriteAt([]byte("world"), 4100)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	f, err = fsys.Open("f")
	must(t, err)
	got := make([]byte, 4105)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got[:4100], make([]byte, 4100)) || string(got[4100:]) != "world" {
		t.Errorf("file = …%q; want zeros, then %q", got[4090:], "world")
	}
	if n, err := f.ReadAt(got, 4100); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt across the end = %d, %v; want 5, EOF", n, err)
	}
	must(t, f.Close())
}

func testLength(t *testing.T, fsys vfs.FS) {
	f := create(t, fsys, "f")
	_, err := f.WriteAt(bytes.Repeat([]byte("x"), 5000), 0)
	must(t, err)
	for _, size := range []int64{1000, 9000} { // what comes back reads as zeros
		must(t, f.Truncate(size))
		if n, err := f.Size(); n != size || err != nil {
			t.Errorf("Size = %d, %v; want %d", n, err, size)
		}
	}
	got := make([]byte, 9000)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if want := append(bytes.Repeat([]byte("x"), 1000), make([]byte, 8000)...); !bytes.Equal(got, want) {
		t.Error("bytes beyond a truncation came back")
	}
	must(t, f.Close())
}

func testPunch(t *testing.T, fsys vfs.FS) {
	f := create(t, fsys, "f")
	_, err := f.WriteAt(bytes.Repeat([]byte("x"), 4*4096), 0)
	must(t, err)
	for _, synced := range []bool{false, true} {
		if hole, err := f.Hole(4096, 4096); hole || err != nil {
			t.Errorf("Hole = %v, %v where there are data, synced %v; want false", hole, err, synced)
		}
		must(t, f.Sync())
	}
	full, err := f.Allocated()
	must(t, err)
	must(t, f.Punch(4096, 2*4096))
	got := make([]byte, 4*4096)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	want := bytes.Repeat([]byte("x"), 4*4096)
	clear(want[4096 : 3*4096])
	if !bytes.Equal(got, want) {
		t.Error("a punched range does not read as zeros, or another does")
	}
	if hole, err := f.Hole(4096, 3*4096); hole || err != nil {
		t.Errorf("Hole = %v, %v where some of it has data; want false", hole, err)
	}
	if left, err := f.Allocated(); left >= full || err != nil {
		t.Errorf("Allocated = %d, %v after a punch; want less than %d", left, err, full)
	}
	if n, err := f.Size(); n != 4*4096 || err != nil {
		t.Errorf("Size = %d, %v after a punch; want it unchanged", n, err)
	}
	must(t, f.Close())
}

func testSmallFile(t *testing.T, fsys vfs.FS) {
	for _, want := range []string{"old", "the new one"} {
		must(t, vfs.ReplaceFile(fsys, "f", []byte(want)))
		if got, err := vfs.ReadFile(fsys, "f", 100); string(got) != want || err != nil {
			t.Errorf("ReadFile = %q, %v; want %q", got, err, want)
		}
	}
	if _, err := vfs.ReadFile(fsys, "f", 5); err == nil {
		t.Error("ReadFile of more than the limit = nil; want an error")
	}
}
