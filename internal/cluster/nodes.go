package cluster

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ballast-io/ballast"
)

// Nodes returns the nodes of the cluster as this node last knew them, by name.
func (r *Records) Nodes() []Node { return r.view.allNodes() }

// Node returns a node as this node last knew it, and whether it did.
func (r *Records) Node(name ballast.NodeID) (Node, bool) { return r.view.node(name) }

// PutNode makes or changes what is kept of a node. Its generation is given here: one
// that no node had when it is new, and else the one that it has.
func (r *Records) PutNode(ctx context.Context, n Node) (Node, error) {
	return r.putNode(ctx, "put", n, func(old Node) (Node, error) {
		next := n
		next.Generation, next.later = old.Generation, old.later
		if next.JoinedAt.IsZero() {
			next.JoinedAt = old.JoinedAt
		}
		return next, nil
	})
}

// Admit makes a node of the name's that is not taken, and spends the token that it
// came with, both or neither: of many that come with one token one is admitted.
// check looks at what the token was stored with; what it returns is returned.
func (r *Records) Admit(ctx context.Context, token string, check func(stored []byte) error, n Node) (Node, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Node{}, fmt.Errorf("admit node %s: %w", n.Name, err)
	}
	spent, err := checkToken(ctx, keys, token, check)
	if err != nil {
		return Node{}, fmt.Errorf("admit node %s: %w", n.Name, err)
	}
	taken := func(old Node) (Node, error) {
		return old, fmt.Errorf("there is a node %s already, at %s; choose another name, or remove that one first: %w", old.Name, old.Address, ballast.ErrExists)
	}
	return r.putNode(ctx, "admit", n, taken, spent)
}

// putNode stores n, or what exists makes of the one that there is. What is in spent
// goes in the same transaction.
func (r *Records) putNode(ctx context.Context, verb string, n Node, exists func(old Node) (Node, error), spent ...item) (Node, error) {
	if err := n.check(); err != nil {
		return Node{}, fmt.Errorf("%s node: %w", verb, err)
	}
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Node{}, fmt.Errorf("%s node %s: %w", verb, n.Name, err)
	}
	for range maxRetries {
		next := n
		old, rev, err := fetchNode(ctx, keys, n.Name)
		if err == nil && rev != 0 {
			next, err = exists(old)
		}
		if err != nil {
			return Node{}, fmt.Errorf("%s node %s: %w", verb, n.Name, err)
		}
		ok, err := r.storeNode(ctx, keys, &next, rev, spent)
		if err != nil {
			return Node{}, fmt.Errorf("%s node %s: %w", verb, n.Name, err)
		}
		if ok {
			return next, nil
		}
		if err := stillThere(ctx, keys, spent); err != nil {
			return Node{}, fmt.Errorf("%s node %s: %w", verb, n.Name, err)
		}
	}
	return Node{}, fmt.Errorf("%s node %s: %w", verb, n.Name, errContended)
}

// storeNode stores n over its revision, and gives it a generation when it is new.
func (r *Records) storeNode(ctx context.Context, keys keyspace, n *Node, rev int64, spent []item) (bool, error) {
	conditions, changes := []item{{key: nodeKey(n.Name), rev: rev}}, []item(nil)
	if rev == 0 {
		last, err := keys.get(ctx, generationKey)
		if err != nil {
			return false, err
		}
		if n.Generation, err = nextGeneration(last.value); err != nil {
			return false, err
		}
		conditions = append(conditions, last)
		changes = append(changes, item{key: generationKey, value: strconv.AppendUint(nil, n.Generation, 10)})
	}
	data, err := encodeNode(*n)
	if err != nil {
		return false, err
	}
	changes = append(changes, item{key: nodeKey(n.Name), value: data})
	for _, token := range spent {
		conditions, changes = append(conditions, token), append(changes, item{key: token.key})
	}
	ok, newRev, err := keys.swap(ctx, conditions, changes)
	if ok {
		n.Revision = newRev
		r.view.putNode(*n) // C6
	}
	return ok, err
}

func nextGeneration(last []byte) (uint64, error) {
	if last == nil {
		return 1, nil
	}
	n, err := strconv.ParseUint(string(last), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the last generation of a node is unreadable: %w", err)
	}
	return n + 1, nil
}

// SetDraining says whether a node is to give up its copies and get no more.
func (r *Records) SetDraining(ctx context.Context, name ballast.NodeID, draining bool) (Node, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Node{}, fmt.Errorf("drain node %s: %w", name, err)
	}
	for range maxRetries {
		n, rev, err := fetchNode(ctx, keys, name)
		if err == nil && rev == 0 {
			err = noSuchNode(name)
		}
		if err != nil {
			return Node{}, fmt.Errorf("drain node: %w", err)
		}
		if n.Draining == draining {
			return n, nil
		}
		n.Draining = draining
		ok, err := r.storeNode(ctx, keys, &n, rev, nil)
		if err != nil {
			return Node{}, fmt.Errorf("drain node %s: %w", name, err)
		}
		if ok {
			return n, nil
		}
	}
	return Node{}, fmt.Errorf("drain node %s: %w", name, errContended)
}

// RemoveNode forgets a node: its certificate counts for nothing any more, also when
// its name is given anew. Whether anything is lost by it is the caller's to know. It is
// no error when there is no such node.
func (r *Records) RemoveNode(ctx context.Context, name ballast.NodeID) error {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return fmt.Errorf("remove node %s: %w", name, err)
	}
	_, rev, err := keys.swap(ctx, nil, []item{{key: nodeKey(name)}, {key: sessionKey(name)}})
	if err != nil {
		return fmt.Errorf("remove node %s: %w", name, err)
	}
	r.view.dropNode(name, rev) // C6
	return nil
}

func fetchNode(ctx context.Context, keys keyspace, name ballast.NodeID) (Node, int64, error) {
	got, err := keys.get(ctx, nodeKey(name))
	if err != nil || got.rev == 0 {
		return Node{}, 0, err
	}
	n, err := decodeNode(got.value)
	n.Revision = got.rev
	return n, got.rev, err
}

func noSuchNode(name ballast.NodeID) error {
	return fmt.Errorf("there is no node %s: %w", name, ballast.ErrNotFound)
}
