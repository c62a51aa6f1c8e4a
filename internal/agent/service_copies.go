package agent

import (
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
)

// copyMessages says where a volume's copies stand.
func copyMessages(v volumeView) []*v1.Copy {
	var messages []*v1.Copy
	for _, c := range v.copies {
		m := &v1.Copy{
			Node: string(c.node), State: c.state, InSync: c.inSync, DurableLsn: uint64(c.durable),
			LagBytes: uint64(max(0, c.lag)), Since: optionalTime(c.since), Error: c.err,
		}
		if c.progress > 0 && c.progress < 1 {
			total := uint64(v.record.Spec.Size)
			m.Progress = &v1.Progress{Step: "copying", Unit: inBytes, DoneBytes: uint64(c.progress * float64(total)), TotalBytes: total}
		}
		messages = append(messages, m)
	}
	return messages
}

// forcedMessages says when an operator forced a copy to count.
func forcedMessages(rec cluster.Record) []*v1.Forced {
	var messages []*v1.Forced
	for _, f := range rec.Forced {
		messages = append(messages, &v1.Forced{
			At: timestamppb.New(f.At), From: joinNodes(f.Left), To: string(f.Node), Lsn: uint64(f.LSN), Epoch: uint64(f.Epoch), By: f.By, Reason: f.Reason,
		})
	}
	return messages
}

func joinNodes(nodes []ballast.NodeID) string {
	words := make([]string, len(nodes))
	for i, node := range nodes {
		words[i] = string(node)
	}
	return strings.Join(words, ", ")
}
