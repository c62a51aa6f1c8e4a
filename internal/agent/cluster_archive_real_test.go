package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/test/freeze"
)

// sharedArchive makes an archive, and returns its folder, its password's file, and what is said of
// it to every node.
func sharedArchive(t *testing.T) (folder, password string, more []string) {
	t.Helper()
	folder, password = t.TempDir(), filepath.Join(t.TempDir(), "password")
	if err := os.CopyFS(folder, os.DirFS(emptyArchive)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(password, []byte(sitePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, password, []string{"archive=" + archiver.FolderURL(folder), "password=" + password}
}

// diary is what was written and synced, one entry in a second, and until when it was the newest.
type diary []entry

type entry struct {
	content       string
	synced, until time.Time
}

const diaryFile = "diary"

// write makes an entry, in a second of its own.
func (d *diary) write(t *testing.T, dir, by string) {
	t.Helper()
	e := entry{content: fmt.Sprintf("%d, written by %s", len(*d), by)}
	nextSecond(t, time.Now())
	if n := len(*d); n > 0 {
		(*d)[n-1].until = time.Now()
	}
	writeSynced(t, filepath.Join(dir, diaryFile), e.content)
	e.synced = time.Now()
	nextSecond(t, e.synced)
	*d = append(*d, e)
}

// at returns what the volume must hold that was restored to a point: several where the point is of
// the time in which an entry was being made.
func (d diary) at(point time.Time) (contents []string) {
	for i, e := range d {
		begun := i == 0 || !point.Before(d[i-1].until)
		if begun && (e.until.IsZero() || !point.After(e.until)) {
			contents = append(contents, e.content)
		}
		if begun && point.Before(e.synced) && i > 0 {
			contents = append(contents, d[i-1].content)
		}
	}
	return contents
}

// archivedUntil waits until what was synced at a moment is in the archive.
func (a *clusterAgent) archivedUntil(name string, at time.Time) {
	a.t.Helper()
	eventuallyWithin(a.t, 40*time.Second, "archiving of "+name+" by "+a.name, func() bool {
		until := a.inspect(name).GetArchive().GetArchivedUntil()
		return until != nil && !until.AsTime().Before(at.Truncate(time.Second))
	})
}

func (a *clusterAgent) archiveConditions(name string) (codes []string) {
	for _, c := range a.inspect(name).GetConditions() {
		if code := c.GetCode(); code == archiver.CondFenced || code == archiver.CondBehind || code == archiver.CondGap {
			codes = append(codes, code)
		}
	}
	return codes
}

// mustRestore restores a volume as it was at a moment, and compares it with the diary.
func (a *clusterAgent) mustRestore(d diary, name, as string, at time.Time) (content string) {
	a.t.Helper()
	r, err := a.volumes.RestoreAt(a.t.Context(), connect.NewRequest(&v1.RestoreAtRequest{Name: name, As: as, At: timestamppb.New(at)}))
	if err != nil {
		a.t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(a.attach(as, "look"), diaryFile))
	point := r.Msg.GetPoint().GetTime().AsTime()
	if want := d.at(point); err != nil || !slices.Contains(want, string(got)) {
		a.t.Errorf("restored to %s, which is %s: %q, %v; want one of %q", at, point, got, err, want)
	}
	a.detach(as, "look")
	return string(got)
}

// G5 over failovers: the history of a volume goes on whoever writes it, one that was stopped and goes on
// adds nothing to it, and all of it is one history: to every second before and after it can be restored,
// from every node, and on a machine of its own when all of the site is lost.
func TestHistoryOverFailovers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a minute")
	}
	folder, password, more := sharedArchive(t)
	nodes := threeNodes(t, more...)
	n1 := nodes["n1"]
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	other := nodes[n1.awaitCopy("db")]
	var d diary
	for range 3 {
		d.write(t, at, "n1")
	}
	n1.archivedUntil("db", d[2].synced)

	pid := n1.engineOf("db")
	freeze.Process(t, n1.cmd.Process.Pid)
	d.write(t, at, "n1, which nobody archived yet")
	freeze.Process(t, pid)
	at = other.attach("db", "cli")
	for range 3 {
		d.write(t, at, other.name)
	}
	other.archivedUntil("db", d[len(d)-1].synced)
	for _, stopped := range []int{pid, n1.cmd.Process.Pid} {
		if err := syscall.Kill(stopped, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the zombie being taken down", func() bool { return leftOnMachine(t, n1.dir) == "" })
	eventually(t, "the first copy following", func() bool { return slices.Contains(other.inSync("db"), "n1") })
	d.write(t, at, other.name)
	other.archivedUntil("db", d[len(d)-1].synced)
	eventually(t, "nothing wrong being said of the archive", func() bool {
		return len(n1.archiveConditions("db")) == 0 && len(other.archiveConditions("db")) == 0
	})

	// Where no copy was, and then back where the first one is, which ships again.
	third := nodes[thirdOf(n1, other)]
	other.detach("db", "cli")
	at = third.attach("db", "cli")
	d.write(t, at, third.name)
	third.archivedUntil("db", d[len(d)-1].synced)
	eventuallyWithin(t, time.Minute, "the third copy being in sync", func() bool { return slices.Contains(third.inSync("db"), ballast.NodeID(third.name)) })
	third.crash()
	at = n1.attach("db", "cli")
	for range 2 {
		d.write(t, at, "n1")
	}
	n1.archivedUntil("db", d[len(d)-1].synced)

	for i, e := range d {
		by := []*clusterAgent{n1, other}[i%2]
		got := by.mustRestore(d, "db", fmt.Sprintf("db-%d", i), e.synced)
		if i != 3 && got != e.content { // that one became durable when nobody archived; its moment is lost, it is not
			t.Errorf("restored to %s: %q; want %q", e.synced, got, e.content)
		}
	}
	h, err := other.volumes.History(t.Context(), connect.NewRequest(&v1.HistoryRequest{Name: "db"}))
	if err != nil || len(h.Msg.GetProblems()) > 0 {
		t.Errorf("history: %v, %v; want nothing missing", h.Msg.GetProblems(), err)
	}

	// The site is lost, three nodes at once; one machine recovers all of it.
	for _, a := range nodes {
		a.crash()
	}
	b := startReal(t, t.TempDir(), archiver.FolderURL(folder), password)
	b.recover(t, 1+len(d))
	wantFile(t, filepath.Join(b.attach("db", "a"), diaryFile), []byte(d[len(d)-1].content))
	b.archivedUntil("db", time.Time{})

	// It was not lost: whatever it archives now is on no line, and it says so.
	for _, a := range nodes {
		a.begin()
	}
	at = n1.attachPatiently("db")
	eventuallyWithin(t, time.Minute, "n1 saying that it was fenced off", func() bool {
		writeSynced(t, filepath.Join(at, diaryFile), "of nobody's history")
		return slices.Contains(n1.archiveConditions("db"), archiver.CondFenced)
	})
	b.detach("db", "a")
	b.restoreAt(&v1.RestoreAtRequest{Name: "db", As: "again"})
	wantFile(t, filepath.Join(b.attach("again", "a"), diaryFile), []byte(d[len(d)-1].content))
	b.detach("again", "a")
}

// recover recovers everything that the archive has.
func (a *realAgent) recover(t *testing.T, want int) {
	t.Helper()
	stream, err := a.archive.Recover(t.Context(), connect.NewRequest(&v1.RecoverRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	recovered := 0
	for stream.Receive() {
		if r := stream.Msg().GetResult(); r != nil {
			recovered++
			if r.GetError() != "" {
				t.Errorf("recover %s: %s", r.GetName(), r.GetError())
			}
		}
	}
	if err := stream.Err(); err != nil || recovered != want {
		t.Fatalf("recovered %d volumes, %v; want %d", recovered, err, want)
	}
}

// attachPatiently attaches as soon as it can be done.
func (a *clusterAgent) attachPatiently(name string) (mountpoint string) {
	a.t.Helper()
	eventuallyWithin(a.t, time.Minute, "attaching "+name+" on "+a.name, func() bool {
		r, err := a.volumes.Attach(a.t.Context(), connect.NewRequest(&v1.AttachRequest{Name: name, Holder: "cli"}))
		if err == nil {
			mountpoint = r.Msg.GetMountpoint()
		}
		return err == nil
	})
	return mountpoint
}
