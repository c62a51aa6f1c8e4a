package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ballast-io/ballast"
)

// collectCluster tells what this node knows of the others; a node on its own, nothing.
func (n *node) collectCluster(out chan<- prometheus.Metric) {
	if n.network() == nil {
		return
	}
	node := string(n.cfg.Node)
	out <- gauge(descSession, n.cfg.Lease.Seconds(), node)
	for _, v := range n.listNodes() {
		out <- gauge(descNode, truth(v.state != nodeAway), string(v.Name), node)
		out <- gauge(descMember, truth(v.member), string(v.Name), node)
		if !v.certificateUntil.IsZero() {
			out <- gauge(descEnds, float64(v.certificateUntil.Unix()), node)
		}
	}
}

// collectCopies tells how many copies of a volume count and, where it is attached, how far
// each one is.
func collectCopies(out chan<- prometheus.Metric, v volumeView, node string) {
	name := v.record.Name
	here := v.record.Primary == ballast.NodeID(node)
	out <- gauge(descPrimary, truth(here), name, node)
	out <- gauge(descWanted, float64(v.wanted), name, node)
	inSync := 0
	for _, c := range v.copies {
		if c.inSync && c.state != copyAway {
			inSync++
		}
		if here && c.node != v.record.Primary {
			out <- gauge(descCopy, truth(c.inSync), name, string(c.node), node)
			out <- gauge(descCopyLag, float64(c.lag), name, string(c.node), node)
		}
	}
	out <- gauge(descInSync, float64(inSync), name, node)
}
