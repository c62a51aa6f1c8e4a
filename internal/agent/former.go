package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/internal/vfs"
)

// What two clusters that were one know of each other: the node that went on says so under the
// identity that it had, and who hears it stands down for good.

const (
	formerDir   = "identity.former" // who this node was in the cluster that it has left behind
	formerFile  = "gone-on.json"    // in it: since when it is of which other one
	givenUpFile = "given-up.json"   // another node went on without this one

	maxSaid = 4 << 10 // bytes
)

// formerly is content of gone-on.json.
type formerly struct {
	Cluster string    `json:"cluster"`
	At      time.Time `json:"at"`
}

// givenUp is content of given-up.json.
type givenUp struct {
	By      ballast.NodeID `json:"by"`
	Cluster string         `json:"cluster"`
	At      time.Time      `json:"at"`
}

// Error says what it means.
func (g *givenUp) Error() string {
	return fmt.Sprintf("node %s was told, at %s, that this node is lost for good, and went on without it as cluster %s", g.By, g.At.Local().Format(time.DateTime), g.Cluster)
}

// asError returns nil when nobody gave this node up.
func (g *givenUp) asError() error {
	if g == nil {
		return nil
	}
	return g
}

// formerIdentity returns who this node was before it went on alone, and what it says to those who
// ask for that one; nil when it never did.
func (n *node) formerIdentity() (*identity.Credentials, peer.Former) {
	own, err := identity.Open(n.disk, formerDir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.log.Warn("the identity that this node had is unreadable; a lost node that returns does not hear that it was given up", "error", err)
		}
		return nil, peer.Former{}
	}
	var f formerly
	data, err := vfs.ReadFile(n.disk, formerDir+"/"+formerFile, maxSaid)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil { // it says so all the same
		f.Cluster = n.network().own.Self().Cluster
	}
	return own, peer.Former{Cluster: f.Cluster, At: f.At}
}

// loadGivenUp returns what this node was told by one that went on without it; nil: nobody did.
func loadGivenUp(disk vfs.FS) (*givenUp, error) {
	data, err := vfs.ReadFile(disk, givenUpFile, maxSaid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var g givenUp
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, fmt.Errorf("read %s: %w; while it is there this node stays out of its cluster", givenUpFile, err)
	}
	return &g, nil
}

// askFormer asks nodes that may have gone on without this one whether they have, all at once, and
// stands down when one has. Only a node whose vote alone is a quorum has to ask: any other
// hears it when it asks for one.
func (n *node) askFormer(ctx context.Context) {
	net := n.network()
	if net == nil || n.givenUp.Load() != nil || !n.records.VotesAlone() {
		return
	}
	var asking sync.WaitGroup
	for _, other := range n.othersAway() {
		asking.Go(func() {
			said, err := net.dialer.Former(ctx, other.Node, other.Address)
			if err == nil {
				n.standDown(givenUp{By: other.Node, Cluster: said.Cluster, At: said.At})
			}
		})
	}
	asking.Wait()
}

// othersAway are the other nodes that this one does not hear, as they were last seen.
func (n *node) othersAway() (away []identity.Address) {
	known := n.records.Nodes()
	for _, k := range known {
		if k.Name != n.cfg.Node && k.Address != "" && (n.records.Session(k.Name).Over || n.records.Session(k.Name).Number == 0) {
			away = append(away, identity.Address{Node: k.Name, Address: k.Address})
		}
	}
	if len(known) > 0 {
		return away
	}
	stored, _ := n.clusterInfo()
	for _, p := range stored.Peers {
		if p.Node != n.cfg.Node {
			away = append(away, p)
		}
	}
	return away
}

// standDown ends all that this node does with volumes, for good: another node went on with them.
func (n *node) standDown(g givenUp) {
	if !n.givenUp.CompareAndSwap(nil, &g) {
		return
	}
	n.log.Error("this node was given up: it attaches nothing any more, and what it has attached is ended", "by", g.By, "cluster", g.Cluster, "at", g.At)
	data, err := json.Marshal(g)
	if err == nil {
		err = vfs.ReplaceFile(n.disk, givenUpFile, data)
	}
	if err != nil {
		n.log.Error("that this node was given up is not on disk; its next start has to hear of it again", "error", err)
	}
	n.records.GiveUp(&g)
	n.endAttachments()
}

// endAttachments takes down everything that is attached on a node that was given up.
func (n *node) endAttachments() {
	g := n.givenUp.Load()
	if g == nil {
		return
	}
	n.noteGivenUp(g)
	for _, s := range n.allSlots() {
		if a := s.current(); a != nil {
			n.do(func(ctx context.Context) { n.evict(ctx, s, a, g.Error()) })
		}
	}
}

// noteGivenUp says what an operator has to do.
func (n *node) noteGivenUp(g *givenUp) {
	n.health.clear("", condNodeAway, condQuorumAtRisk, condRemoved, condRecords)
	n.health.raiseSince("", condGivenUp, fmt.Sprintf("This node is out: %s. What was attached here was ended, and nothing here counts any more; writes that only this node acknowledged are still in its copies.", g.Error()),
		fmt.Sprintf("move %s aside, start the agent, type `ballast token create` on node %s, and here what it prints", n.cfg.DataDir, g.By), g.At)
}
