package agent

import (
	"net/http"
	"os"
	"os/exec"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// A proxy in the environment is not asked for what etcd's members say to each other. The
// environment is read once in a process, so the test looks in another one.
func TestMembersUseNoProxy(t *testing.T) {
	const inside = "BALLAST_TEST_PROXIES"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMembersUseNoProxy$")
		cmd.Env = append(os.Environ(), inside+"=1", "HTTPS_PROXY=http://10.0.0.99:3128", "https_proxy=http://10.0.0.99:3128", "NO_PROXY=", "no_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if os.Getenv("HTTPS_PROXY") == "" {
		t.Fatal("there is no proxy to do without")
	}
	if err := WithoutProxies(); err != nil {
		t.Fatal(err)
	}
	members, err := transport.NewTransport(transport.TLSInfo{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.0.0.1:7420/raft", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := members.Proxy(request); proxy != nil || err != nil {
		t.Errorf("a member is reached through %v, %v", proxy, err)
	}
}
