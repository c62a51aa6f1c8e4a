package agent

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ballast-io/ballast"
)

// meters are the counters that a node keeps itself. What can be looked up is
// looked up when it is asked for; see collector.
type meters struct {
	attachWait     prometheus.Histogram
	attachFailures prometheus.Counter
	engineDeaths   prometheus.Counter
	shippedBytes   prometheus.Counter
	shipFailures   prometheus.Counter
	fetchedBytes   prometheus.Counter
}

func newMeters() *meters {
	return &meters{
		attachWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ballast_mount_wait_seconds", Help: "How long mounts that succeeded took.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 100},
		}),
		attachFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "ballast_mount_failures_total", Help: "Mounts that failed."}),
		engineDeaths:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ballast_engine_deaths_total", Help: "Engines that died."}),
		shippedBytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ballast_archive_shipped_bytes_total", Help: "Log tails that were archived, before compression."}),
		shipFailures:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ballast_archive_failures_total", Help: "Attempts to archive that failed."}),
		fetchedBytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ballast_archive_fetched_bytes_total", Help: "Chunks of volumes that were fetched from the archive."}),
	}
}

// timeAttach returns what notes the outcome of an attach that began at start.
func (m *meters) timeAttach(start time.Time) func(*error) {
	return func(err *error) {
		if *err != nil {
			m.attachFailures.Inc()
			return
		}
		m.attachWait.Observe(time.Since(start).Seconds())
	}
}

var (
	volumeLabels = []string{"volume", "node"}
	copyLabels   = []string{"volume", "copy", "node"}

	descSize     = prometheus.NewDesc("ballast_volume_size_bytes", "Disk space that a volume's files take on this node.", volumeLabels, nil)
	descCapacity = prometheus.NewDesc("ballast_volume_capacity_bytes", "The size that a volume has for its users.", volumeLabels, nil)
	descState    = prometheus.NewDesc("ballast_volume_state", "1 for the state that a volume is in, as this node sees it, 0 for the others.", append([]string{"state"}, volumeLabels...), nil)
	descHolders  = prometheus.NewDesc("ballast_volume_holders", "Who holds a volume on this node.", volumeLabels, nil)
	descEpoch    = prometheus.NewDesc("ballast_volume_epoch", "The epoch of a volume's latest attach.", volumeLabels, nil)
	descLog      = prometheus.NewDesc("ballast_volume_log_bytes", "Log of a volume that is not folded into its image yet.", volumeLabels, nil)
	descReads    = prometheus.NewDesc("ballast_volume_reads_total", "Reads that the running engine answered.", volumeLabels, nil)
	descWrites   = prometheus.NewDesc("ballast_volume_writes_total", "Writes that the running engine answered.", volumeLabels, nil)
	descFlushes  = prometheus.NewDesc("ballast_volume_flushes_total", "Flushes that the running engine answered.", volumeLabels, nil)
	descRead     = prometheus.NewDesc("ballast_volume_read_bytes_total", "Bytes that the running engine read.", volumeLabels, nil)
	descWritten  = prometheus.NewDesc("ballast_volume_written_bytes_total", "Bytes that the running engine wrote.", volumeLabels, nil)
	descLag      = prometheus.NewDesc("ballast_archive_lag_seconds", "For how long the oldest flush of a volume has waited to be archived; 0: everything is.", volumeLabels, nil)
	descQueued   = prometheus.NewDesc("ballast_archive_queued_bytes", "Log of a volume that is kept until it is archived.", volumeLabels, nil)
	descTail     = prometheus.NewDesc("ballast_archive_tail_bytes", "Log tail of a volume in the archive since the last base snapshot, before compression.", volumeLabels, nil)
	descMissing  = prometheus.NewDesc("ballast_volume_missing_bytes", "What of a volume is not on its primary yet: the archive has it, or another copy.", volumeLabels, nil)
	descVerified = prometheus.NewDesc("ballast_archive_verified", "1 when the last test restore of a volume went well, 0 when it did not.", volumeLabels, nil)
	descVerifyAt = prometheus.NewDesc("ballast_archive_verified_timestamp_seconds", "When a volume was last restored as a test.", volumeLabels, nil)
	descTrash    = prometheus.NewDesc("ballast_trash_volumes", "Removed volumes that can be restored.", []string{"node"}, nil)
	descRecords  = prometheus.NewDesc("ballast_records_ready", "1 when volumes can be made and changed.", []string{"node"}, nil)
	descNode     = prometheus.NewDesc("ballast_node_up", "1 for each node of the cluster that is there, as this node sees it, 0 for one that is away.", []string{"peer", "node"}, nil)
	descMember   = prometheus.NewDesc("ballast_node_keeps_records", "1 for each node that keeps the cluster's records, 0 for the others.", []string{"peer", "node"}, nil)
	descSession  = prometheus.NewDesc("ballast_lease_seconds", "For how long others wait for a silent node until they take over what it has.", []string{"node"}, nil)
	descEnds     = prometheus.NewDesc("ballast_certificate_end_timestamp_seconds", "When this node's certificate ends; it is renewed long before.", []string{"node"}, nil)
	descPrimary  = prometheus.NewDesc("ballast_volume_primary", "1 on the node that has a volume attached, 0 on the others.", volumeLabels, nil)
	descWanted   = prometheus.NewDesc("ballast_volume_copies_wanted", "In-sync copies that a volume shall have.", volumeLabels, nil)
	descInSync   = prometheus.NewDesc("ballast_volume_copies_in_sync", "In-sync copies of a volume, on nodes that are there.", volumeLabels, nil)
	descCopy     = prometheus.NewDesc("ballast_copy_in_sync", "1 for each copy of a volume that has every acknowledged write, 0 for the others; said by its primary.", copyLabels, nil)
	descCopyLag  = prometheus.NewDesc("ballast_copy_lag_bytes", "Log that a copy has not acknowledged yet; said by its primary.", copyLabels, nil)
	descHealth   = prometheus.NewDesc("ballast_condition", "1 for each condition that an operator should look at.", []string{"code", "volume", "node"}, nil)
)

// etcdMetrics are what the member of etcd in this process counts, under etcd's own names.
type etcdMetrics struct{}

// Gather implements [prometheus.Gatherer].
func (etcdMetrics) Gather() ([]*dto.MetricFamily, error) {
	all, err := prometheus.DefaultGatherer.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "etcd_") }), err
}

// collector tells Prometheus what the node knows, without asking anybody (A5).
type collector struct{ node *node }

// Describe implements [prometheus.Collector].
func (c collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	node := string(c.node.cfg.Node)
	names := map[string]string{}
	for _, v := range c.node.listViews(false) {
		names[string(v.record.ID)] = v.record.Name
		collectVolume(out, v, node)
		if done, ok := c.node.verifier.Of(v.record.ID); ok {
			out <- gauge(descVerified, truth(done.OK), v.record.Name, node)
			out <- gauge(descVerifyAt, float64(done.At.Unix()), v.record.Name, node)
		}
	}
	ready, _ := c.node.records.Ready()
	out <- gauge(descRecords, truth(ready), node)
	out <- gauge(descTrash, float64(len(c.node.records.Trash())), node)
	c.node.collectCluster(out)
	for _, cond := range c.node.health.all() {
		out <- gauge(descHealth, 1, cond.code, names[string(cond.volume)], node)
	}
}

func collectVolume(out chan<- prometheus.Metric, v volumeView, node string) {
	name := v.record.Name
	out <- gauge(descSize, float64(v.usedBytes), name, node)
	out <- gauge(descCapacity, float64(v.record.Spec.Size), name, node)
	out <- gauge(descHolders, float64(len(v.holders)), name, node)
	out <- gauge(descEpoch, float64(v.record.Epoch), name, node)
	for _, s := range states() {
		out <- gauge(descState, truth(s == v.state), string(s), name, node)
	}
	collectCopies(out, v, node)
	if v.state != stateAttached || v.mountpoint == "" { // who has it attached tells the rest
		return
	}
	out <- gauge(descLog, float64(v.status.LogBytes), name, node)
	out <- gauge(descMissing, float64(v.status.MissingChunks)*ballast.ChunkSize, name, node)
	if v.archive != nil {
		out <- gauge(descLag, v.archive.lag(time.Now()).Seconds(), name, node)
		out <- gauge(descQueued, float64(v.archive.queued), name, node)
		out <- gauge(descTail, float64(v.archive.state.TailBytes), name, node)
	}
	out <- counter(descReads, float64(v.status.Reads), name, node)
	out <- counter(descWrites, float64(v.status.Writes), name, node)
	out <- counter(descFlushes, float64(v.status.Flushes), name, node)
	out <- counter(descRead, float64(v.status.ReadBytes), name, node)
	out <- counter(descWritten, float64(v.status.WrittenBytes), name, node)
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func counter(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
