package peer

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/identity"
)

// What a machine is told that may not join, whole, is what the command line's scripts show.
func TestRefusalsReadAsShown(t *testing.T) {
	script, err := os.ReadFile("../../cmd/ballast/testdata/script/cluster_trouble.txtar")
	if err != nil {
		t.Fatal(err)
	}
	shown := func(text string) {
		t.Helper()
		if text == "" || !strings.Contains(string(script), text) {
			t.Errorf("no golden text of cluster_trouble.txtar has %q", text)
		}
	}
	c, other := newTestCluster(t), newTestCluster(t)
	n1, _ := c.enter("n1")
	good := c.token()
	address := c.serve(n1)
	before := c.state()
	joins := func(token identity.Token, node string) {
		t.Helper()
		_, err := apply(c, token, address, node)
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok {
			t.Fatalf("Join = %v; want a refusal", err)
		}
		shown(strings.ReplaceAll(err.Error(), address, "10.0.0.1:7420"))
		shown(refusal.Text)
	}
	joins(identity.NewToken(c.authority.Digest()), "n2") // as one whose time is over
	joins(other.token(), "n2")
	for _, change := range []func(r *joinRequest){
		func(r *joinRequest) { r.Time = r.Time.Add(time.Hour) },
		func(r *joinRequest) { r.Time = r.Time.Add(-time.Hour) },
		func(r *joinRequest) { r.Version, r.Release = oldestJoin-1, "v0.1.0" },
		func(r *joinRequest) { r.Version, r.Release = joinVersion+1, "v9.0.0" },
	} {
		r := testRequest(t, good, "n2")
		change(&r)
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, refusal := ask(JoinHandler(c, slog.New(slog.DiscardHandler)).(*joinHandler), "10.0.0.9:1", body)
		shown(refusal.Text)
	}
	if after := c.state(); after != before {
		t.Errorf("what was refused made %s of %s (P5)", after, before)
	}
}
