package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/vfs"
)

// site is an archive that outlives the nodes of a test, on a store that goes wrong as told.
type site struct {
	dir   string
	store *storetest.Faulty
	repo  *repository.Repository
}

var errStore = errors.New("the store is away")

const sitePassword = "of the tests"

// emptyArchive is the folder of an archive without content, whose key is cheap to derive from
// sitePassword: N=2, where a real one takes a third of a second, and ten under the race detector.
const emptyArchive = "../archive/testdata/empty"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	if err := os.CopyFS(s.dir, os.DirFS(emptyArchive)); err != nil {
		t.Fatal(err)
	}
	disk, err := vfs.OS(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	s.store = storetest.NewFaulty(store.NewFolder(disk))
	if s.repo, err = repository.Open(t.Context(), s.store, []byte(sitePassword)); err != nil {
		t.Fatal(err)
	}
	return s
}

// keepOpen is a store that a node does not close: the test looks at it still.
type keepOpen struct{ store.Store }

func (keepOpen) Close() error { return nil }

func (s *site) open(context.Context) (*archiver.Opened, error) {
	return &archiver.Opened{Store: keepOpen{s.store}, Repo: s.repo, Archive: archive.New(s.store, s.repo, "ballast test")}, nil
}

// archiveNode runs a node that archives to s.
func archiveNode(t *testing.T, m *machine, s *site, dir string) (*node, func()) {
	t.Helper()
	n := newTestNode(t, m, Config{DataDir: dir, Archive: "s3://test/prefix", ArchiveInterval: 5 * time.Millisecond})
	n.wireArchiver(s.open)
	return n, runNode(t, n.Run)
}

// second returns the nth second of the test's history.
func second(n int) time.Time { return time.Date(2026, 11, 21, 10, 0, n, 0, time.UTC) }

// volumeOn makes and attaches a volume of a few chunks.
func volumeOn(t *testing.T, m *machine, n *node, name string) (ballast.VolumeID, *fakeDisk) {
	t.Helper()
	v := mustCreate(t, n, name, map[string]string{"size": "16M"})
	d := m.diskOf(n, v.record.ID)
	d.set(16<<20, v.record.ID)
	mustAttach(t, n, name, "a")
	return v.record.ID, d
}

// wantContent compares a volume in the archive, at a moment, with blocks.
func wantContent(t *testing.T, s *site, id ballast.VolumeID, when archive.When, want map[ballast.Block]byte) {
	t.Helper()
	o, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := o.Archive.History(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := h.Plan(when)
	if err != nil {
		t.Fatalf("plan %v: %v (problems: %q)", when, err, h.Problems)
	}
	src, err := o.Archive.Source(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = src.Stream(t.Context(), func(chunk int, data []byte) error {
		if data == nil {
			data = make([]byte, ballast.ChunkSize)
		}
		if !bytes.Equal(data, chunkOf(want, chunk)) {
			return fmt.Errorf("chunk %d differs", chunk)
		}
		return nil
	}, nil)
	if err != nil {
		t.Errorf("content at %v: %v", when, err)
	}
}

func archivedUpTo(t *testing.T, d *fakeDisk, lsn ballast.LSN) {
	t.Helper()
	eventually(t, fmt.Sprintf("archiving of record %d", lsn), func() bool { return d.acknowledged() >= lsn })
}

// What is durable gets into the archive by itself, and every flush is a point.
func TestShip(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	d.write(300, 'b', second(2))
	archivedUpTo(t, d, 2)
	d.write(0, 'c', second(3))
	archivedUpTo(t, d, 3)
	wantContent(t, s, id, archive.When{Time: second(2)}, map[ballast.Block]byte{0: 'a', 300: 'b'})
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'c', 300: 'b'})
	v, err := n.Inspect("db")
	if err != nil || v.archive == nil || !v.archive.state.Until.Equal(second(3)) {
		t.Errorf("archived until %+v, %v; want %s", v.archive, err, second(3))
	}
}

// An idle volume costs a question to its engine, and none to the store (T6 of package tail).
func TestIdleAsksNothing(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	_, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	eventually(t, "base snapshot", func() bool { v, _ := n.Inspect("db"); return v.archive.state.HasBase && !v.archive.basing })
	before, rounds := len(s.store.Calls()), m.count("changes")
	eventually(t, "ten looks", func() bool { return m.count("changes") > rounds+10 })
	if got := s.store.Calls(); len(got) != before {
		t.Errorf("the store was asked %v", got[before:])
	}
}

// A crash between an object and its head, of a volume that then has nothing more to ship: the
// head is put all the same, as often as it takes, and then the store is left alone.
func TestHeadOfIdleVolume(t *testing.T) {
	m, s := newMachine(), newSite(t)
	dir := t.TempDir()
	n, stop := archiveNode(t, m, s, dir)
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	v, err := n.Inspect("db")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := os.Remove(n.path(volumeDir(id), "archive.json")); err != nil {
		t.Fatal(err)
	}
	head := tail.Name{Kind: tail.HeadKind, Volume: id, Epoch: v.record.Epoch}.String()
	if err := s.store.Delete(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	failures := 0
	s.store.FailWith(func(c storetest.Call) storetest.Fault {
		if c.Op != storetest.Put || c.Name != head || failures == 3 {
			return storetest.Fault{}
		}
		failures++
		return storetest.Fault{Err: errStore}
	})
	n, _ = archiveNode(t, m, s, dir)
	eventually(t, "the head", func() bool {
		_, err := s.store.Get(t.Context(), head, 0, -1)
		return err == nil
	})
	eventually(t, "base snapshot", func() bool { v, _ := n.Inspect("db"); return v.archive.state.HasBase && !v.archive.basing })
	before, rounds := len(s.store.Calls()), m.count("changes")
	eventually(t, "ten looks", func() bool { return m.count("changes") > rounds+10 })
	if got := s.store.Calls(); len(got) != before {
		t.Errorf("the store was asked %v", got[before:])
	}
}

// The store fails at every call in turn, whatever it had done: nothing is lost of the
// history, writers are not kept, and an agent that ends in the middle does no harm.
func TestShipUnderFaults(t *testing.T) {
	m, s := newMachine(), newSite(t)
	dir := t.TempDir()
	n, stop := archiveNode(t, m, s, dir)
	id, d := volumeOn(t, m, n, "db")
	want := map[ballast.Block]byte{}
	var moments []map[ballast.Block]byte
	for call := range 24 {
		s.store.FailWith(storetest.FailAt(len(s.store.Calls())+call%8, errStore))
		block, fill := ballast.Block(call*97%4000), byte('a'+call)
		last := d.write(block, fill, second(call))
		want[block] = fill
		moments = append(moments, maps.Clone(want))
		switch call % 6 {
		case 3:
			stop()
			n, stop = archiveNode(t, m, s, dir)
		case 5:
			mustDetach(t, n, "db", "a")
			mustAttach(t, n, "db", "a")
		}
		archivedUpTo(t, d, last)
	}
	s.store.FailWith(nil)
	mustDetach(t, n, "db", "a")
	for i, content := range moments {
		wantContent(t, s, id, archive.When{Time: second(i)}, content)
	}
	wantContent(t, s, id, archive.When{}, want)
}

// The store is away: writers go on, the condition says so, and it ends by itself.
func TestStoreAway(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	s.store.FailWith(func(storetest.Call) storetest.Fault { return storetest.Fault{Err: errStore} })
	d.write(1, 'b', second(2))
	eventually(t, "condition", func() bool { return hasCondition(n, id, archiver.CondBehind) })
	mustDetach(t, n, "db", "a") // Docker is not kept waiting
	s.store.FailWith(nil)
	mustAttach(t, n, "db", "a")
	archivedUpTo(t, d, 2)
	eventually(t, "end of the condition", func() bool { return !hasCondition(n, id, archiver.CondBehind) })
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'a', 1: 'b'})
}

func hasCondition(n *node, id ballast.VolumeID, code string) bool {
	for _, c := range n.health.of(id) {
		if c.code == code {
			return true
		}
	}
	return false
}

// The log loses what the archive did not take in time: the history has a gap that is shown,
// a base snapshot ends it, and no moment of it is restored to something else.
func TestGap(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	eventually(t, "base snapshot", func() bool { v, _ := n.Inspect("db"); return v.archive.state.HasBase && !v.archive.basing })
	s.store.FailWith(func(storetest.Call) storetest.Fault { return storetest.Fault{Err: errStore} })
	d.write(1, 'b', second(2))
	d.write(2, 'c', second(3))
	d.recycle(2)
	s.store.FailWith(nil)
	d.write(3, 'd', second(4))
	archivedUpTo(t, d, 4)
	eventually(t, "the gap's end", func() bool {
		v, _ := n.Inspect("db")
		gaps := v.archive.state.Gaps
		return len(gaps) == 1 && !gaps[0].Until.IsZero()
	})
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'a', 1: 'b', 2: 'c', 3: 'd'})
	wantContent(t, s, id, archive.When{Time: second(1)}, map[ballast.Block]byte{0: 'a'})
	o, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := o.Archive.History(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var missing *archive.GapError
	if _, err := h.Plan(archive.When{Time: second(2)}); !errors.As(err, &missing) {
		t.Errorf("a moment in the gap: %v; want to be told of the gap", err)
	}
}

// T5 of package tail: a node whose volume was recovered elsewhere archives nothing more, and says so.
func TestFenced(t *testing.T) {
	m, s := newMachine(), newSite(t)
	dir := t.TempDir()
	n, stop := archiveNode(t, m, s, dir)
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	other, _ := archiveNode(t, newMachine(), s, t.TempDir())
	recoverAll(t, other, 1)
	if v, err := other.Inspect("db"); err != nil || v.record.ID != id || v.record.Epoch < 2 {
		t.Fatalf("recovered %+v, %v; want the volume under its id and a higher epoch", v.record, err)
	}
	d.write(0, 'x', second(5))
	stop() // a writer looks for others now and then, and when it starts
	n, _ = archiveNode(t, m, s, dir)
	eventually(t, "condition", func() bool { return hasCondition(n, id, archiver.CondFenced) })
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'a'})
}

func recoverAll(t *testing.T, n *node, want int) {
	t.Helper()
	eventually(t, "records", func() bool { ready, _ := n.records.Ready(); return ready })
	got := 0
	err := n.Recover(t.Context(), false, func(r recovered) error {
		if r.err != nil {
			t.Errorf("recover %s: %v", r.name, r.err)
		}
		got++
		return nil
	})
	if err != nil || got != want {
		t.Errorf("recovered %d volumes, %v; want %d", got, err, want)
	}
}

// A restored volume is another one, whose history begins where the moment was; the archive
// keeps what it needs even before it is used.
func TestRestoreAs(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	d.write(0, 'b', second(2))
	archivedUpTo(t, d, 2)
	dry, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", as: "db2", moment: moment{at: second(1)}, dryRun: true})
	if err != nil || len(dry.plan) == 0 || dry.point.LSN != 1 {
		t.Fatalf("dry run: %+v, %v; want a plan for record 1", dry, err)
	}
	if _, err := n.Inspect("db2"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("after a dry run db2 is %v; want not found", err)
	}
	out, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", as: "db2", moment: moment{at: second(1)}})
	if err != nil {
		t.Fatal(err)
	}
	made := out.volume.record
	if made.Origin == nil || made.Origin.Volume != id || !made.Formatted || made.Spec.Size != 16<<20 {
		t.Errorf("made %+v; want it to be as db was", made)
	}
	wantContent(t, s, made.ID, archive.When{}, map[ballast.Block]byte{0: 'a'})
	err = n.sources.Fetch(t.Context(), made.ID, 0, func(p []byte) {
		if !bytes.Equal(p, chunkOf(map[ballast.Block]byte{0: 'a'}, 0)) {
			t.Error("a wrong chunk is served")
		}
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", as: "db2"}); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("restored over another volume: %v; want exists", err)
	}
	if _, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", inPlace: true, moment: moment{at: second(1)}}); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("restored in the place of a volume that is held: %v; want in use", err)
	}
	mustDetach(t, n, "db", "a")
	if _, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", inPlace: true, moment: moment{at: second(1)}}); err != nil {
		t.Fatal(err)
	}
	if v, err := n.Inspect("db"); err != nil || v.record.ID == id {
		t.Errorf("db is %s, %v; want another volume", v.record.ID, err)
	}
	if trash := n.records.Trash(); len(trash) != 1 || trash[0].ID != id {
		t.Errorf("in the trash: %v; want the volume that db was", trash)
	}
}

// Docker asks for the same volume on every node and at every start.
func TestCreateFrom(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	_, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	options := map[string]string{"from": "db@2026-11-21T10:00:01Z", "label.app": "x"}
	first := mustCreate(t, n, "db-then", options)
	again := mustCreate(t, n, "db-then", options)
	if first.record.ID != again.record.ID || first.record.Spec.Labels["app"] != "x" {
		t.Errorf("made %+v, then %+v; want one volume with the label", first.record, again.record)
	}
	if _, err := n.Create(t.Context(), "db-then", map[string]string{"from": "db"}); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("another moment: %v; want exists", err)
	}
	if _, err := n.Create(t.Context(), "db-other", map[string]string{"from": "db", "size": "32M"}); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("another size: %v; want invalid", err)
	}
	// A clone has what was written just now.
	d.write(7, 'n', second(2))
	clone := mustCreate(t, n, "db-clone", map[string]string{"from": "db"})
	wantContent(t, s, clone.record.ID, archive.When{}, map[ballast.Block]byte{0: 'a', 7: 'n'})
}
