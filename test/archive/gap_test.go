package archive

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
)

// TestQueueFull keeps the store away for longer than the log can wait: writing goes on, the
// oldest is let go, and the history says from when to when nothing can be restored, until
// the next base snapshot, which begins by itself.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	n := newVault(t).machine(t, "--archive-queue", "8M", "--log-capacity", "16M")
	n.do("archive", "init")
	d := n.newDiary("db", 3)
	before := d.write("before the store went away")
	n.archivedSince("db", before.began)
	n.based("db")
	n.proxy.Refuse()
	within := d.write("what the queue had no room for")
	n.fillQueue(d)
	n.eventually("the agent to find that the log has let go of something", func() error {
		return n.inspect("db").has("archive-gap") // or it may yet ship what it has read before
	})
	n.well()
	n.eventually("a base snapshot to close the gap", func() error {
		a := n.inspect("db").Archive
		if len(a.Gaps) != 1 || a.Gaps[0].Until == nil {
			return fmt.Errorf("it has the gaps %+v; %s", a.Gaps, a.Error)
		}
		return nil
	})
	after := d.write("after the gap")
	n.archivedSince("db", after.began)
	d.pastSecond(after.at)
	d.checkAt(n, before, d.newestGood(within))
	if h := n.history("db"); len(h.AnySecond) < 2 {
		t.Errorf("the history has the stretches %v; want a gap between two", h.AnySecond)
	}
	d.check(n, after)
	if err := n.inspect("db").has("archive-gap"); err == nil {
		t.Error("the gap is closed, and still a condition")
	}
	n.do("archive", "check", "--read-data")
}

// newestGood asks for a moment that cannot be restored, and returns the one that the
// refusal names.
func (d *diary) newestGood(e entry) string {
	d.t.Helper()
	said := d.refused("volume", "restore", d.volume, "--at", e.moment(), "--as", "never")
	_, at, ok := strings.Cut(said, "to have it, type --at ")
	if !ok || !strings.Contains(said, "newest good point before") {
		d.t.Fatalf("a restore of what was written %s says %q; want the newest good point", e.what, said)
	}
	at, _, _ = strings.Cut(at, "\n") // a hint may follow
	return at
}

// fillQueue writes more than the queue takes.
func (n *node) fillQueue(d *diary) {
	n.t.Helper()
	d.pastSecond(d.entries[len(d.entries)-1].at) // or that second would end with this
	for i := range 16 {
		data := make([]byte, 4<<20)
		for j := range data {
			data[j] = byte(d.rng.Uint32())
		}
		name := fmt.Sprintf("bulk-%d", i%4)
		must(n.t, overwrite(d.dir+"/"+name, data, 0, len(data)))
		d.files[name] = data
	}
}

// TestLostObject: the store acknowledges an object of the log and does not keep it.
// Nothing behind it is given out as if it were whole, the newest point before it can be
// restored, and once the writer learns of it a base snapshot leads on.
func TestLostObject(t *testing.T) {
	t.Parallel()
	n := newVault(t).machine(t, "--archive-interval", "50ms")
	n.do("archive", "init")
	d := n.newDiary("db", 4)
	before := d.write("before the loss")
	n.archivedSince("db", before.began)
	n.based("db")
	lost := make(chan string, 1)
	n.proxy.Do(func(r *http.Request) s3test.Rule {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/log/") || strings.HasSuffix(r.URL.Path, "/head") || strings.HasSuffix(r.URL.Path, "/latest") || len(lost) > 0 {
			return s3test.Rule{}
		}
		lost <- r.URL.Path
		return s3test.Rule{Lose: true}
	})
	within := d.write("in the object that is lost")
	n.archivedSince("db", within.began)
	behind := d.write("behind the loss")
	n.archivedSince("db", behind.began)
	d.pastSecond(behind.at)
	for _, e := range []entry{within, behind} {
		d.checkAt(n, before, d.newestGood(e))
	}
	if h := n.history("db"); len(h.Problems) == 0 {
		t.Error("the history has no problem")
	}

	// The writer looks at what there is every 64 objects.
	n.eventually("a base snapshot that leads on", func() error {
		more := d.files["more"]
		d.files["more"] = append(more, byte(len(more)))
		must(t, overwrite(d.dir+"/more", d.files["more"], len(more), 1))
		if at := n.inspect("db").Archive.LastSnapshot; at.Before(behind.at) {
			return fmt.Errorf("the last one is of %v", at)
		}
		return nil
	})
	last := d.write("when all is well")
	n.archivedSince("db", last.began)
	d.pastSecond(last.at)
	d.check(n, last)
	t.Logf("lost %s", <-lost)
}
