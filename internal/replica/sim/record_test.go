package sim

import (
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// record is what the store holds of the volume.
type record = cluster.Record

func counts(r record, n ballast.NodeID) bool { return slices.Contains(r.InSync, n) }

// membersOf is what an agent tells an engine of the record.
func membersOf(r record, session uint64) replica.Members {
	m := replica.Members{Revision: r.Revision, Epoch: r.Epoch, Primary: r.Primary, InSync: r.InSync, MinCopies: r.Spec.CopiesNeeded(), Session: session}
	for _, n := range r.Copies {
		m.Copies = append(m.Copies, replica.Peer{Node: n, Added: r.Added[n]})
	}
	return m
}

// firstRecord is of a volume that was attached once, and of which nothing was written.
func firstRecord(copies, minCopies int) record {
	r := record{ID: "abcdefghijklmnopqrstuvwxyz", Name: "db", Spec: ballast.DefaultVolumeSpec(), Revision: 1, Epoch: 1}
	r.Spec.Replicas, r.Spec.MinCopies = copies, minCopies
	r.InSync, r.Copies = nodeNames[:1:1], slices.Clone(nodeNames[:copies])
	return r
}

func without(nodes []ballast.NodeID, node ballast.NodeID) []ballast.NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(n ballast.NodeID) bool { return n == node })
}
