package labtest

import (
	"os"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
)

// NewCluster returns n machines that reach each other, whose agents are one cluster
// unless opts says otherwise. Like [New], it leaves the test out where that cannot be.
func NewCluster(t testing.TB, n int, opts lab.ClusterOptions) *lab.Cluster {
	t.Helper()
	Require(t)
	if opts.Machine.Ballast == "" {
		opts.Machine.Ballast = Binary(t)
	}
	//nolint:usetesting // t.TempDir has long names, which do not fit into the address of a socket
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	c, err := lab.NewCluster(t.Context(), dir, n, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, node := range c.Nodes {
			showLogs(t, node.Machine)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
