package archive

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestThroughDocker tells the story of a day on one machine, as somebody with Docker has it:
// a database is spoilt, looked at as it was, taken back, cloned, verified; and what the day
// left in the archive is whole, for our own check and for stock restic.
func TestThroughDocker(t *testing.T) {
	t.Parallel()
	m := labtest.Start(t, lab.Options{AgentArgs: []string{"--archive-interval", "200ms"}})
	n := &node{Machine: m, t: t}
	docker := func(args ...string) string {
		t.Helper()
		out, err := m.Docker(t.Context(), args...)
		must(t, err)
		return out
	}
	run := func(volume, script string) string {
		t.Helper()
		return docker("run", "--rm", "--network", "none", "-v", volume+":/data", "busybox", "sh", "-c", script)
	}
	docker("volume", "create", "-d", "ballast", "-o", "size=64M", "db")
	d := &diary{node: n, volume: "db"}
	e := entry{}
	write := func(text string) string {
		t.Helper()
		d.pastSecond(e.at)
		run("db", "echo "+text+" > /data/note && sync")
		e.at = time.Now()
		d.pastSecond(e.at)
		return e.moment()
	}
	good := write("good")
	n.based("db")
	n.do("volume", "snapshot", "db", "--tag", "before-upgrade")
	bad := write("bad")
	n.eventually("the archive to have it", func() error {
		_, err := n.Ballast(t.Context(), "volume", "restore", "db", "--at", bad, "--as", "db-bad", "--dry-run")
		return err
	})

	want := func(volume, text string) {
		t.Helper()
		if got := run(volume, "cat /data/note"); got != text {
			t.Errorf("%s has %q; want %q", volume, got, text)
		}
	}
	docker("volume", "create", "-d", "ballast", "-o", "from=db@"+good, "db-good")
	want("db-good", "good")
	docker("volume", "create", "-d", "ballast", "-o", "from=db@"+good, "db-good") // again, as Compose does
	docker("volume", "create", "-d", "ballast", "-o", "from=db@before-upgrade", "db-before")
	want("db-before", "good")
	n.do("volume", "clone", "db", "db-test")
	want("db-test", "bad")
	run("db-test", "echo tested > /data/note")
	want("db", "bad")

	n.do("volume", "restore", "db", "--at", good, "--in-place", "--yes")
	want("db", "good")
	n.do("volume", "restore", n.trashed("db"), "--as", "db-spoilt")
	want("db-spoilt", "bad")
	docker("volume", "rm", "db-test")

	if out := n.do("verify", "db", "--command", `test "$(cat note)" = good`); !strings.Contains(out, "db") {
		t.Errorf("verify says %q", out)
	}
	if said := n.refused("verify", "db", "--command", `test "$(cat note)" = bad`); !strings.Contains(said, "exit status") {
		t.Errorf("a verification whose command fails says %q", said)
	}
	n.do("verify")
	n.do("archive", "check", "--read-data")
	n.resticCheck()
}

// trashed is the id of a removed volume.
func (n *node) trashed(name string) string {
	n.t.Helper()
	for line := range strings.Lines(n.do("volume", "ls", "--trash")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return fields[1]
		}
	}
	n.t.Fatalf("the trash has no volume %s:\n%s", name, n.do("volume", "ls", "--trash"))
	return ""
}

// resticCheck has stock restic look at all that is in the archive in the data folder.
func (n *node) resticCheck() {
	n.t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		n.t.Log("left out: restic is not installed (apt install restic)")
		return
	}
	cmd := exec.CommandContext(n.t.Context(), "restic", "--no-cache", "-r", n.Path("ballast", "archive", "repo"), "--password-file", n.Path("ballast", "archive.key"), "check", "--read-data")
	cmd.Env = append(os.Environ(), "HOME="+n.t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Errorf("stock restic: %v\n%s", err, out)
	}
}
