package cluster

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/vfs"
)

// TestKilledInMidChange kills a process with kill -9 while it makes records one
// after the other, again and again on the same folder. What it said was made must
// be there, and the folder must open.
func TestKilledInMidChange(t *testing.T) {
	if dir := os.Getenv("BALLAST_KILL_DIR"); dir != "" {
		makeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	var made []string
	for round := range 5 {
		made = append(made, killAfter(t, dir, 3+4*round)...)
	}
	r, _ := node(t, dir)
	if _, err := r.Create(t.Context(), "last", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range made {
		if _, err := r.Get(name); err != nil {
			t.Errorf("%s was acknowledged: %v", name, err)
		}
	}
	if len(made) < 5 {
		t.Errorf("only %d were made; the test tests nothing", len(made))
	}
}

// killAfter runs makeUntilKilled, kills it when it has made so many, and returns
// what it made.
func killAfter(t *testing.T, dir string, count int) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "BALLAST_KILL_DIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var made []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "made "); ok {
			made = append(made, name)
		}
		if len(made) == count {
			break
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it said before it died counts
		if name, ok := strings.CutPrefix(lines.Text(), "made "); ok {
			made = append(made, name)
		}
	}
	_ = child.Wait() // it was killed
	return made
}

func makeUntilKilled(t *testing.T, dir string) {
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := Open(Config{Dir: filepath.Join(dir, "records"), View: disk, Node: "n1", Log: slog.New(slog.DiscardHandler)})
	go func() { _ = r.Run(context.Background()) }() // until the process is killed
	for i := 0; ; i++ {
		name := fmt.Sprintf("v%d-%d", os.Getpid(), i)
		if _, err := r.Create(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
		fmt.Println("made", name)
	}
}
