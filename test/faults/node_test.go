package faults

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
	"github.com/ballast-io/ballast/test/workload"
)

// TestMain makes the test binary the program that works on a volume inside of a
// machine, too: see worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "work" {
		if err := workIn(os.Args[2:]); err != nil {
			fmt.Println("@end", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// workIn reports on the workloads in a folder, or goes on with one.
func workIn(args []string) error {
	if len(args) == 1 {
		return workload.Report(os.Stdout, args[0])
	}
	return workload.Work(os.Stdout, args[0], args[1])
}

// node is a machine with an agent, reached through the agent's API.
type node struct {
	t       *testing.T
	m       *lab.Machine
	http    *http.Client
	volumes ballastv1connect.VolumeServiceClient
	nodes   ballastv1connect.NodeServiceClient
}

// newNode starts an agent in a machine of its own. before, which may be nil, runs in the
// machine first.
func newNode(t *testing.T, before func(m *lab.Machine)) *node {
	t.Helper()
	m := labtest.New(t, lab.Options{})
	if before != nil {
		before(m)
	}
	if err := m.Agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", m.Root()+m.AgentSocket())
	}
	n := &node{t: t, m: m, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	n.volumes = ballastv1connect.NewVolumeServiceClient(n.http, "http://ballast")
	n.nodes = ballastv1connect.NewNodeServiceClient(n.http, "http://ballast")
	return n
}

func (n *node) tryCreate(ctx context.Context, name, size string) (*v1.Volume, error) {
	r, err := n.volumes.Create(ctx, connect.NewRequest(&v1.CreateRequest{Name: name, Options: map[string]string{"size": size}}))
	if err != nil {
		return nil, err
	}
	return r.Msg.GetVolume(), nil
}

const holder = "faults"

// tryAttach returns the mountpoint, as the machine sees it.
func (n *node) tryAttach(ctx context.Context, name string) (string, error) {
	r, err := n.volumes.Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: name, Holder: holder}))
	if err != nil {
		return "", err
	}
	return r.Msg.GetMountpoint(), nil
}

func (n *node) tryDetach(ctx context.Context, name string) error {
	_, err := n.volumes.Detach(ctx, connect.NewRequest(&v1.DetachRequest{Name: name, Holder: holder}))
	return err
}

func (n *node) tryRemove(ctx context.Context, name string) error {
	_, err := n.volumes.Remove(ctx, connect.NewRequest(&v1.RemoveRequest{Name: name}))
	return err
}

// create, attach and detach are those that cannot fail.
func (n *node) create(name, size string) *v1.Volume {
	n.t.Helper()
	v, err := n.tryCreate(n.t.Context(), name, size)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

func (n *node) attach(name string) string {
	n.t.Helper()
	mountpoint, err := n.tryAttach(n.t.Context(), name)
	if err != nil {
		n.t.Fatal(err)
	}
	return mountpoint
}

func (n *node) detach(name string) {
	n.t.Helper()
	if err := n.tryDetach(n.t.Context(), name); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) inspect(name string) *v1.Volume {
	n.t.Helper()
	r, err := n.volumes.Inspect(n.t.Context(), connect.NewRequest(&v1.InspectRequest{Name: name}))
	if err != nil {
		n.t.Fatal(err)
	}
	return r.Msg.GetVolume()
}

// folder is where a volume's own files are, as the test reaches them.
func (n *node) folder(id string) string { return n.outside(n.m.Path("ballast", "volumes", id)) }

// metric returns a number that the agent says of itself.
func (n *node) metric(name string) float64 {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, "http://ballast/metrics", http.NoBody)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := n.http.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			return v
		}
	}
	n.t.Fatalf("the agent has no metric %s", name)
	return 0
}

// eventually polls real state.
func (n *node) eventually(what string, ask func(context.Context) error) {
	n.t.Helper()
	if err := lab.Poll(n.t.Context(), what, ask); err != nil {
		n.t.Fatal(err)
	}
}

// outside is the path by which the test reaches a path of the machine.
func (n *node) outside(path string) string { return filepath.Join(n.m.Root(), path) }
