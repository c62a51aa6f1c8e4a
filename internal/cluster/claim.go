package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// ClaimRequest is how a node wants to become a volume's one writer. At most one of
// Hollow, Empty and Force is set; none of them: the node's own copy is in sync.
type ClaimRequest struct {
	Floor  ballast.Epoch // the highest epoch that the node's own files of the volume have seen
	Hollow bool          // what it has counts for nothing: the content comes from an in-sync copy on another node
	Empty  bool          // it begins empty, as a scratch volume does, a cache whose node is gone, and any that never was formatted
	Force  *Forced       // the operator's word that its copy counts; Claim fills in the rest
	Stands replica.State // where the node's copy stands, durably, as far as that is known before it is opened

	// Over are the nodes whose session is over. [Records.Claim] finds them out itself,
	// and makes its transaction depend on it.
	Over []ballast.NodeID
}

// HeldError reports that another node holds the volume. It is a [ballast.ErrInUse].
type HeldError struct {
	Volume string         // its name
	Node   ballast.NodeID // who holds it
	Wait   time.Duration  // until the node's session is over unless it is renewed; 0: not known
}

func (e *HeldError) Error() string {
	if e.Wait <= 0 {
		return fmt.Sprintf("volume %q is held by node %s; stop what uses it there, or type `ballast volume move %s NODE`", e.Volume, e.Node, e.Volume)
	}
	return fmt.Sprintf("volume %q is held by node %s; stop what uses it there, or type `ballast volume move %s NODE`; if that node is gone it can be taken over in %s", e.Volume, e.Node, e.Volume, e.Wait.Round(100*time.Millisecond))
}

// Is reports whether target is [ballast.ErrInUse].
func (e *HeldError) Is(target error) bool { return target == ballast.ErrInUse }

// DecideClaim makes node the one writer of a volume, under an epoch above every
// earlier one (C3). Nobody else holds it then, or did whose session is over (C8).
// Copies of nodes that are over no longer count, as long as enough others are left (C9).
func DecideClaim(r Record, node ballast.NodeID, req ClaimRequest) (Record, error) {
	if r.InTrash() {
		return r, notFound(r.Name)
	}
	over := func(n ballast.NodeID) bool { return n != node && slices.Contains(req.Over, n) }
	if r.Primary != "" && r.Primary != node && !over(r.Primary) && !seeded(claimHeld) {
		return r, &HeldError{Volume: r.Name, Node: r.Primary}
	}
	next, err := claimCopies(r, node, req, over)
	if err != nil {
		return r, err
	}
	next.Epoch = max(r.Epoch, req.Floor) + 1
	switch {
	case seeded(claimSameEpoch):
		next.Epoch = max(r.Epoch, 1)
	case seeded(ignoreFloor):
		next.Epoch = r.Epoch + 1
	}
	next.Primary = node
	next.Branch = req.branch(r, next.Epoch)
	next.Copies = withNodes(next.Copies, node)
	return next, nil
}

// branch is what is known of the history that counts from a claim on. Where a hollow copy begins is
// known only later, and told with the first change that its leader asks for.
func (req ClaimRequest) branch(r Record, epoch ballast.Epoch) replica.Branch {
	switch {
	case req.Empty:
		return replica.NewBranch(epoch, replica.State{})
	case req.Force != nil: // its files were closed before
		return replica.NewBranch(epoch, req.Stands)
	case req.Hollow || len(req.Stands.Lineage) == 0:
		return r.Branch
	}
	b := replica.NewBranch(epoch, req.Stands)
	b.AtLeast = true
	return b
}

// claimCopies decides which copies count from the claim on.
func claimCopies(r Record, node ballast.NodeID, req ClaimRequest, over func(ballast.NodeID) bool) (Record, error) {
	switch {
	case req.Force != nil:
		return forceCopy(r, node, req), nil
	case req.Empty:
		return beginEmpty(r, node, over)
	case req.Hollow:
		return beginHollow(r, node, over)
	case len(r.InSync) == 0: // the first attach
		r.InSync = []ballast.NodeID{node}
		return r, nil
	case !slices.Contains(r.InSync, node) && !seeded(claimAnyCopy):
		return r, fmt.Errorf("volume %q: the copy on node %s may lack writes that were acknowledged; %s have them all: %w", r.Name, node, nodeList(r.InSync), ballast.ErrNoCopy)
	}
	r.InSync = withoutOver(r.InSync, over, r.Spec.CopiesNeeded())
	return r, nil
}

// beginHollow lets node lead without a copy of its own: what it acknowledges is on
// the in-sync copies, so one must be there that answers.
func beginHollow(r Record, node ballast.NodeID, over func(ballast.NodeID) bool) (Record, error) {
	others := withoutNode(r.InSync, node)
	if !slices.ContainsFunc(others, func(n ballast.NodeID) bool { return !over(n) }) {
		return r, fmt.Errorf("volume %q: every acknowledged write is on %s only, and no such node can be reached; start one of these nodes: %w", r.Name, nodeList(r.InSync), ballast.ErrNoCopy)
	}
	r.InSync = withoutOver(others, over, r.Spec.CopiesNeeded())
	return r, nil
}

// beginEmpty forgets what a volume holds, where its class says that this may be.
func beginEmpty(r Record, node ballast.NodeID, over func(ballast.NodeID) bool) (Record, error) {
	kept := func(n ballast.NodeID) bool { return !over(n) }
	switch r.Spec.Class {
	case ballast.Scratch:
	case ballast.Cache:
		if slices.ContainsFunc(r.InSync, kept) {
			return r, fmt.Errorf("volume %q: its content is on node %s, which is there; attach it from there: %w", r.Name, nodeList(r.InSync), ballast.ErrInvalid)
		}
	case ballast.Clustered, ballast.Primary:
		if !r.Formatted {
			break // its first attach did not come to its end: nobody was ever given it to write to
		}
		return r, fmt.Errorf("volume %q: class %s never begins empty over what it held: %w", r.Name, r.Spec.Class, ballast.ErrNoCopy)
	}
	r.InSync, r.Copies, r.Added = []ballast.NodeID{node}, []ballast.NodeID{node}, nil
	r.Formatted = false
	return r, nil
}

func forceCopy(r Record, node ballast.NodeID, req ClaimRequest) Record {
	f := *req.Force
	f.Node, f.Was, f.Epoch, f.Left = node, r.Epoch, max(r.Epoch, req.Floor)+1, withoutNode(r.InSync, node)
	r.Forced = append(slices.Clone(r.Forced), f)
	r.Forced = r.Forced[max(0, len(r.Forced)-maxForced):]
	if seeded(forceKeepsInSync) {
		r.InSync = withNodes(r.InSync, node)
		return r
	}
	r.InSync = []ballast.NodeID{node}
	return r
}

// DecideRelease ends the hold that epoch stands for. One that has ended, or
// was followed by another, is left alone: [ErrUnchanged].
func DecideRelease(r Record, node ballast.NodeID, epoch ballast.Epoch) (Record, error) {
	if r.Primary != node || r.Epoch != epoch {
		return r, ErrUnchanged
	}
	r.Primary = ""
	return r, nil
}

// withNodes returns nodes and more, each once. It changes neither.
func withNodes(nodes []ballast.NodeID, more ...ballast.NodeID) []ballast.NodeID {
	for _, n := range more {
		if !slices.Contains(nodes, n) {
			nodes = append(slices.Clip(nodes), n)
		}
	}
	return nodes
}

// withoutNode returns nodes other than node. It changes nothing in place.
func withoutNode(nodes []ballast.NodeID, node ballast.NodeID) []ballast.NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(n ballast.NodeID) bool { return n == node })
}

// withoutOver takes out nodes that are over, as long as so many are left.
func withoutOver(nodes []ballast.NodeID, over func(ballast.NodeID) bool, least int) []ballast.NodeID {
	left := len(nodes)
	return slices.DeleteFunc(slices.Clone(nodes), func(n ballast.NodeID) bool {
		gone := over(n) && left > least
		if gone {
			left--
		}
		return gone
	})
}

func nodeList(nodes []ballast.NodeID) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	return strings.Join(names, ", ")
}
