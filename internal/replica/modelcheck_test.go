package replica

import (
	"github.com/ballast-io/ballast"
)

func (s *modelState) members() Members {
	if s.primary == 0 {
		return members(s.epoch, -1, s.inSync, s.revision)
	}
	return members(s.epoch, int(s.primary-1), s.inSync, s.revision)
}

func members(epoch uint8, primary int, inSync, revision uint8) Members {
	m := Members{Revision: int64(revision), Epoch: ballast.Epoch(epoch), MinCopies: 1, Session: 1, Copies: modelCopies}
	if primary >= 0 {
		m.Primary = modelNames[primary]
	}
	for j, name := range modelNames {
		if inSync&(1<<j) != 0 {
			m.InSync = append(m.InSync, name)
		}
	}
	return m
}

var modelCopies = []Peer{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}

// has reports whether a copy has what was acknowledged, durably if that is asked.
func (s *modelState) has(i int, durably bool) bool {
	n := &s.nodes[i]
	last := n.last
	if durably {
		last = n.durable
	}
	return s.acked == 0 || last >= s.acked && n.log[s.acked-1] == s.ackedRecord
}

// checkInSync: every copy that counts has all that was acknowledged (R1, R2, R3).
func (m *model) checkInSync(s modelState) {
	for j := range modelNodes {
		if s.inSync&(1<<j) != 0 && !s.has(j, true) {
			m.fail("%s is in sync and lacks record %d of epoch %d, which was acknowledged", modelNames[j], s.acked, s.ackedRecord)
		}
	}
	if s.inSync == 0 {
		m.fail("no copy counts any more")
	}
}

// checkLeader: who leads has all that was acknowledged (G1).
func (m *model) checkLeader(s modelState, i int) {
	if !s.has(i, false) {
		m.fail("%s leads under epoch %d and lacks record %d, which was acknowledged", modelNames[i], s.epoch, s.acked)
	}
}
