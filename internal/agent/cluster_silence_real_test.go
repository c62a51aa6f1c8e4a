package agent

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// twoNodes are n1, which keeps the records alone, and n2, which asks it.
func twoNodes(t *testing.T) (n1, n2 *clusterAgent) {
	t.Helper()
	needRoot(t)
	n1, n2 = startClusterAgent(t, 1), startClusterAgent(t, 2)
	for _, a := range []*clusterAgent{n1, n2} {
		t.Cleanup(func() { a.kill(); sweepAll(t, a.dir) })
	}
	token := n1.token()
	eventually(t, "listening", func() bool { return listens(token.GetAddress()) })
	if err := n2.join(token); err != nil {
		t.Fatal(err)
	}
	n2.ready()
	n1.awaitNodes("n1:up:member n2:up")
	n2.awaitNodes("n1:up:member n2:up")
	return n1, n2
}

// refusesSoon asks for every kind of change of a detached volume, all at once, and wants each
// refused, in the time that somebody at a terminal has, because the records do not answer.
func (a *clusterAgent) refusesSoon(volume, elsewhere string) (errs map[string]error) {
	a.t.Helper()
	asked := map[string]func(context.Context) error{
		"attach": func(ctx context.Context) error {
			_, err := a.volumes.Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: volume, Holder: "cli"}))
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := a.volumes.Create(ctx, connect.NewRequest(&v1.CreateRequest{Name: "another", Options: map[string]string{"size": "64M"}}))
			return err
		},
		"remove": func(ctx context.Context) error {
			_, err := a.volumes.Remove(ctx, connect.NewRequest(&v1.RemoveRequest{Name: volume}))
			return err
		},
		"move": func(ctx context.Context) error {
			stream, err := a.volumes.Move(ctx, connect.NewRequest(&v1.MoveRequest{Name: volume, Node: elsewhere}))
			if err != nil {
				return err
			}
			for stream.Receive() { // to its end
			}
			return stream.Err()
		},
		"failover": func(ctx context.Context) error {
			_, err := a.volumes.Failover(ctx, connect.NewRequest(&v1.FailoverRequest{Name: volume}))
			return err
		},
	}
	type answer struct {
		call string
		took time.Duration
		err  error
	}
	answers := make(chan answer, len(asked))
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	for call, ask := range asked {
		go func() { // ends with ctx, and is waited for
			began := time.Now()
			err := ask(ctx)
			answers <- answer{call, time.Since(began), err}
		}()
	}
	errs = map[string]error{}
	for range asked {
		got := <-answers
		errs[got.call] = got.err
		a.t.Logf("%s: after %v: %v", got.call, got.took.Round(time.Millisecond), got.err)
		if connect.CodeOf(got.err) != connect.CodeUnavailable || !strings.Contains(got.err.Error(), "nothing was changed") && got.call != "move" {
			a.t.Errorf("%s on %s = %v; want it unavailable, and to hear that nothing was changed", got.call, a.name, got.err)
		}
	}
	return errs
}

// awaitSilence waits until status says that the records cannot be changed, and returns what it says.
func (a *clusterAgent) awaitSilence() (said *v1.Condition) {
	a.t.Helper()
	eventually(a.t, a.name+" saying that the records do not answer", func() bool {
		st, err := a.node.Status(a.t.Context(), connect.NewRequest(&v1.StatusRequest{}))
		if err != nil || st.Msg.GetRecordsReady() {
			return false
		}
		for _, c := range st.Msg.GetConditions() {
			if c.GetCode() == condRecords {
				said = c
			}
		}
		return said != nil
	})
	return said
}

// The node that keeps the records is away: the other one says so, since when, and what goes on;
// answers who wants a change; and goes on by itself, also with what a container waits for.
func TestClientWithoutQuorum(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	n1, n2 := twoNodes(t)
	n2.createWith("single", map[string]string{"size": "64M", "repl": "1"})
	single := n2.attach("single", "cli")
	create(t, n2, "idle")
	n2.attach("idle", "cli")
	n2.awaitCopy("idle")
	n2.detach("idle", "cli")
	n1.crash()
	lost := time.Now()
	said := n2.awaitSilence()
	t.Logf("after %v: %s (since %v before; %s)", time.Since(lost).Round(time.Millisecond), said.GetTitle(), time.Since(said.GetSince().AsTime()).Round(time.Millisecond), said.GetHint())
	for _, want := range []string{"node n1, which keeps the records, does not answer", "works on: single"} {
		if !strings.Contains(said.GetTitle(), want) {
			t.Errorf("status says %q; want %q in it", said.GetTitle(), want)
		}
	}
	shownInScript(t, said.GetTitle(), said.GetHint())
	if since := said.GetSince().AsTime(); since.After(lost.Add(2 * time.Second)) {
		t.Errorf("it says since %v; they were lost at %v", since, lost)
	}
	writeSynced(t, filepath.Join(single, "meanwhile"), "works on")
	if refused := n2.refusesSoon("idle", "n1")["attach"]; refused != nil { // as it must be
		shownInScript(t, strings.TrimSuffix(strings.TrimPrefix(refused.Error(), "unavailable: "), ": "+ballast.ErrNotReady.Error()))
	}
	container := make(chan error, 1)
	go func() { // ends with the agent at the latest
		_, err := n2.volumes.Attach(context.Background(), connect.NewRequest(&v1.AttachRequest{Name: "idle", Holder: dockerHolder + "c1"}))
		container <- err
	}()
	select {
	case err := <-container:
		t.Errorf("a container was not waited for: %v", err)
	case <-time.After(recordsPatience + 3*time.Second): // whoever else was refused by then
	}
	n1.begin()
	n1.ready()
	n2.ready()
	if err := <-container; err != nil {
		t.Errorf("what a container waited for: %v", err)
	}
	writeSynced(t, filepath.Join(single, "after"), "works on")
	create(t, n2, "another")
}
