package survey_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/audit"
	"github.com/ballast-io/ballast/internal/audit/survey"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestRealEngine lets containers and services of a real Docker Engine keep state
// in every place that loses it, and in some that do not.
func TestRealEngine(t *testing.T) {
	m := labtest.New(t, lab.Options{Ballast: "/bin/true"}) // the audit needs no agent
	ctx := t.Context()
	must(t, m.Dockerd.Start(ctx))
	must(t, m.ImportImage(ctx, "busybox", lab.Busybox()))
	must(t, m.StartSwarm(ctx))
	const wait = "exec /bin/busybox sleep 1000"
	for name, args := range map[string][]string{
		"anon":  {"-v", "/data", "busybox", "sh", "-c", wait},
		"layer": {"busybox", "sh", "-c", "/bin/busybox mkdir -p /var/lib/app && echo x > /var/lib/app/a && echo x > /var/lib/app/b && " + wait},
		"named": {"-v", "local:/data", "busybox", "sh", "-c", "echo x > /data/a && " + wait},
		"bound": {"-v", m.Path("bound") + ":/data", "busybox", "sh", "-c", "echo x > /data/a && " + wait},
		"clean": {"--tmpfs", "/scratch", "-v", "/run/docker.sock:/run/docker.sock", "busybox", "sh", "-c", "echo x > /scratch/a && " + wait},
	} {
		docker(t, m, slices.Concat([]string{"run", "-d", "--name", name}, args)...)
	}
	docker(t, m, "service", "create", "-d", "--name", "web", "--mount", "type=volume,source=web,target=/data", "busybox", "sh", "-c", "/bin/busybox mkdir /state && echo x > /state/a && "+wait)
	want := []string{
		"lost anonymous-volume container anon /data",
		"lost writable-layer container layer /var/lib/app 2",
		"lost writable-layer service web /state 1",
		"tied local-volume container named /data",
		"tied bind-mount container bound /data",
		"tied local-volume service web /data",
	}
	slices.Sort(want)
	must(t, lab.Poll(ctx, "the audit to find what the containers wrote", func(ctx context.Context) error {
		w, err := survey.Docker(ctx, client(m))
		if err != nil {
			return err
		}
		if len(w.Gaps) > 0 {
			return fmt.Errorf("could not look at %q", w.Gaps)
		}
		if got := places(audit.Examine(w)); !slices.Equal(got, want) {
			return fmt.Errorf("found %q; want %q", got, want)
		}
		return nil
	}))
}

// places is the findings in a line each, sorted.
func places(findings []audit.Finding) []string {
	var all []string
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s %s", f.Gravity, f.Kind, f.Owner, f.Path)
		if f.Files > 0 {
			line += fmt.Sprintf(" %d", f.Files)
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

func client(m *lab.Machine) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", m.Root()+"/run/docker.sock")
		},
	}}
}

func docker(t *testing.T, m *lab.Machine, args ...string) {
	t.Helper()
	if out, err := m.Docker(t.Context(), args...); err != nil {
		t.Fatalf("docker %s: %v %s", strings.Join(args, " "), err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
