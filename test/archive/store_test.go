package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
)

// trouble is a store that is not well.
type trouble struct {
	name  string
	begin func(*s3test.Proxy)
	says  string // of it, in status; empty: it goes on archiving
}

func follow(rule s3test.Rule) func(*s3test.Proxy) {
	return func(p *s3test.Proxy) { p.Do(s3test.Always(rule)) }
}

var troubles = []trouble{
	{"refuses connections", (*s3test.Proxy).Refuse, "connection refused"},
	{"answers 503", follow(s3test.Rule{Status: http.StatusServiceUnavailable, Code: "SlowDown"}), "SlowDown"},
	{"answers 429", follow(s3test.Rule{Status: http.StatusTooManyRequests, Code: "TooManyRequests"}), "TooManyRequests"},
	{"is full", follow(s3test.Rule{Status: http.StatusInsufficientStorage, Code: "XMinioStorageFull"}), "XMinioStorageFull"},
	{"answers 500 to what it did", follow(s3test.Rule{Status: http.StatusInternalServerError, Code: "InternalError", After: true}), "InternalError"},
	{"takes nobody's word", follow(s3test.Rule{Status: http.StatusForbidden, Code: "AccessDenied"}), "AccessDenied"},
	{"is slow", follow(s3test.Rule{Delay: 300 * time.Millisecond}), ""},
	{"has a clock an hour ahead", follow(s3test.Rule{Clock: time.Hour}), ""},
	{"has a clock a day behind", follow(s3test.Rule{Clock: -24 * time.Hour}), ""},
}

// TestStoreTrouble: whatever the store does, a volume is written to; status says since when
// its archive is behind, why, and how much waits here; when the store is well again, all
// of it is archived, and every moment can be restored.
func TestStoreTrouble(t *testing.T) {
	t.Parallel() // it waits most of the time
	n := newVault(t).machine(t)
	n.do("archive", "init")
	d := n.newDiary("db", 1)
	n.archivedSince("db", d.write("the store is well").began)
	n.based("db")
	for _, trouble := range troubles {
		before := time.Now()
		trouble.begin(n.proxy)
		last := d.write("the store " + trouble.name)
		if trouble.says != "" {
			n.behind("db", trouble, before)
			last = d.write("the store " + trouble.name + " still")
		} else {
			n.archivedSince("db", last.began)
		}
		n.well()
		n.archivedSince("db", last.began)
	}
	if h := n.history("db"); len(h.Problems) > 0 {
		t.Errorf("the history has problems: %q", h.Problems)
	}
	d.checkEach(n)
	n.do("archive", "check", "--read-data")
	t.Logf("%d kinds of trouble, %d moments restored", len(troubles), d.restored)
}

// well ends what troubles the store.
func (n *node) well() {
	n.proxy.Refuse() // and listens anew, whether it refused before or not
	n.proxy.Do(nil)
	n.proxy.Listen()
}

// behind waits until the machine says in every place that its archive is behind.
func (n *node) behind(volume string, because trouble, before time.Time) {
	n.t.Helper()
	n.eventually("the condition archive-behind while the store "+because.name, func() error {
		v := n.inspect(volume)
		a := v.Archive
		switch {
		case a.Behind == nil:
			return errors.New("it is not behind")
		case a.Behind.Before(before):
			return fmt.Errorf("it is behind since %v, before the trouble at %v", a.Behind, before)
		case a.Queued == 0:
			return errors.New("nothing waits")
		case !strings.Contains(a.Error, because.says):
			return fmt.Errorf("the reason is %q; want one with %q", a.Error, because.says)
		}
		return v.has("archive-behind")
	})
	var status struct {
		Conditions []condition
		Archive    struct{ Volumes []struct{ State archived } }
	}
	must(n.t, json.Unmarshal([]byte(n.do("status", "--json")), &status))
	if (volumeState{Conditions: status.Conditions}).has("archive-behind") != nil || len(status.Archive.Volumes) != 1 || status.Archive.Volumes[0].State.Behind == nil {
		n.t.Errorf("the store %s; status says %+v; want it to say that the archive is behind", because.name, status)
	}
}
