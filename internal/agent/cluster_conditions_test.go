package agent

import (
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

// A volume whose in-sync copies are all away is said to be so by every node, and not to have
// too few copies besides.
func TestConditionsOfCopies(t *testing.T) {
	n := clusterOfThree(t) // n9 is in none
	for _, tt := range []struct {
		name   string
		class  ballast.Class
		inSync []ballast.NodeID
		blank  bool
		want   []string
	}{
		{"never attached", ballast.Primary, nil, true, nil},
		{"enough", ballast.Primary, []ballast.NodeID{"n1", "n2"}, false, nil},
		{"too few", ballast.Primary, []ballast.NodeID{"n1"}, false, []string{condTooFewCopies}},
		{"one is gone", ballast.Primary, []ballast.NodeID{"n1", "n9"}, false, nil},
		{"all are gone", ballast.Primary, []ballast.NodeID{"n8", "n9"}, false, []string{condNoCopy}},
		{"the only one is gone", ballast.Primary, []ballast.NodeID{"n9"}, false, []string{condNoCopy}},
		{"of a cache", ballast.Cache, []ballast.NodeID{"n9"}, false, nil},
		{"and it holds nothing", ballast.Primary, []ballast.NodeID{"n8", "n9"}, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := cluster.Record{ID: "v", Name: "db", Spec: ballast.DefaultVolumeSpec(), Epoch: 3, InSync: tt.inSync, Copies: []ballast.NodeID{"n1"}, Formatted: !tt.blank}
			rec.Spec.Class = tt.class
			if tt.inSync == nil {
				rec.Epoch = 0
			}
			n.noteCopies(rec, 3)
			var got []string
			for _, c := range n.health.of("v") {
				got = append(got, c.code)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("conditions = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestMetricsOfCopies(t *testing.T) {
	v := volumeView{record: cluster.Record{Name: "db", Primary: "n1"}, wanted: 3, copies: []copyView{
		{node: "n1", state: copyPrimary, inSync: true},
		{node: "n2", state: copyInSync, inSync: true, lag: 4096},
		{node: "n3", state: copyAway, inSync: true},
		{node: "n4", state: copyCatchingUp, lag: 1 << 20},
	}}
	for node, want := range map[string]string{
		"n1": `ballast_copy_in_sync{copy="n2",node="n1",volume="db"} 1
ballast_copy_in_sync{copy="n3",node="n1",volume="db"} 1
ballast_copy_in_sync{copy="n4",node="n1",volume="db"} 0
ballast_copy_lag_bytes{copy="n2",node="n1",volume="db"} 4096
ballast_copy_lag_bytes{copy="n3",node="n1",volume="db"} 0
ballast_copy_lag_bytes{copy="n4",node="n1",volume="db"} 1.048576e+06
ballast_volume_copies_in_sync{node="n1",volume="db"} 2
ballast_volume_copies_wanted{node="n1",volume="db"} 3
ballast_volume_primary{node="n1",volume="db"} 1
`,
		"n2": `ballast_volume_copies_in_sync{node="n2",volume="db"} 2
ballast_volume_copies_wanted{node="n2",volume="db"} 3
ballast_volume_primary{node="n2",volume="db"} 0
`,
	} {
		if got := exposed(t, collectorFunc(func(out chan<- prometheus.Metric) { collectCopies(out, v, node) })); got != want {
			t.Errorf("metrics of %s:\n%s\nwant:\n%s", node, got, want)
		}
	}
}

type collectorFunc func(chan<- prometheus.Metric)

func (f collectorFunc) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }
func (f collectorFunc) Collect(out chan<- prometheus.Metric) { f(out) }

// exposed is what Prometheus would read, without the comments.
func exposed(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}
