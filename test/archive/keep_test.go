package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestKept thins out and prunes an archive again and again while a volume is written to:
// what is kept can be restored, what is not is gone, and the archive stays whole.
func TestKept(t *testing.T) {
	t.Parallel()
	n := newVault(t).machine(t)
	n.do("archive", "init")
	d := n.newDiary("db", 7, "-o", "keep=any second for 1min")
	tagged := d.write("with a tag")
	n.archivedSince("db", tagged.began)
	n.do("volume", "snapshot", "db", "--tag", "keep-me")
	old := d.write("that nothing keeps")

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.thinOut(ctx) }()
	n.eventually("the beginning to be given up", func() error {
		d.write("again")
		h := n.history("db")
		if len(h.AnySecond) == 0 {
			return errors.New("no second can be restored")
		}
		// The first stretch may be the snapshot alone.
		if last := h.AnySecond[len(h.AnySecond)-1]; last.From.Before(old.at) {
			return fmt.Errorf("every second since %v can be restored", last.From)
		}
		return nil
	})
	stop()
	must(t, <-ended)

	last := d.write("when all is thinned out")
	n.archivedSince("db", last.began)
	d.pastSecond(last.at)
	recent := d.entries[len(d.entries)-5:]
	for _, e := range recent {
		d.check(n, e)
	}
	n.do("volume", "restore", "db", "--snapshot", "keep-me", "--as", "tagged")
	tagged.compare(n, n.attach("tagged"), "tagged")
	n.do("archive", "check", "--read-data")
	t.Logf("%d moments written, %d of the last restored", len(d.entries), len(recent))
}

// thinOut takes base snapshots, and deletes what is not kept, until ctx ends.
func (n *node) thinOut(ctx context.Context) error {
	for ctx.Err() == nil {
		for _, order := range [][]string{{"volume", "snapshot", "db"}, {"volume", "retain", "db", "--apply"}, {"archive", "prune", "--apply"}} {
			if _, err := n.Ballast(context.WithoutCancel(ctx), order...); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestFolderFull archives to a folder on a disk that is full: as with any store, writing
// goes on, and what is missing is archived when there is space.
func TestFolderFull(t *testing.T) {
	t.Parallel()
	labtest.Require(t)
	m := labtest.New(t, lab.Options{AgentArgs: []string{"--archive", "file:///run/store", "--archive-password-file", passwordFile(t), "--archive-interval", "200ms"}})
	n := &node{Machine: m, t: t}
	mount := func(options string) {
		t.Helper()
		_, err := m.Output(t.Context(), "mount", "-t", "tmpfs", "-o", options, "tmpfs", "/run/store")
		must(t, err)
	}
	must(t, os.Mkdir(m.Root()+"/run/store", 0o700))
	mount("size=12m")
	must(t, m.Agent.Start(t.Context()))
	n.do("archive", "init")
	d := n.newDiary("db", 8)
	n.archivedSince("db", d.write("while there is space").began)
	n.based("db")
	before := time.Now()
	n.fillQueue(d)
	d.write("when the disk was full")
	n.behind("db", trouble{name: "is full", says: "no space left"}, before)
	last := d.write("when it was full still")
	mount("remount,size=400m")
	n.archivedSince("db", last.began)
	d.checkEach(n)
	n.do("archive", "check", "--read-data")
	if said := n.do("archive", "status"); strings.Contains(said, "behind since") {
		t.Errorf("everything is archived, and status says:\n%s", said)
	}
}
