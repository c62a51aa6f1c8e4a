package audit

import "strings"

// pinnedBy returns the constraint that leaves a service no more than one node,
// or nothing. Without knowing the nodes, only a node's own name pins.
func pinnedBy(constraints []string, nodes []Node) string {
	for _, text := range constraints {
		key, value, ok := strings.Cut(text, "==")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case key == "node.id", key == "node.hostname":
			return text
		case strings.HasPrefix(key, "node.labels.") && matching(nodes, strings.TrimPrefix(key, "node.labels."), value) == 1:
			return text
		}
	}
	return ""
}

func matching(nodes []Node, label, value string) int {
	n := 0
	for _, node := range nodes {
		// Swarm compares values without regard to case.
		if v, ok := node.Labels[label]; ok && strings.EqualFold(v, value) {
			n++
		}
	}
	return n
}
