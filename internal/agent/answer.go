package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"

	"connectrpc.com/connect"
)

// copyState is where the copy on one node stands, as that node says.
type copyState struct {
	Here      bool          `json:"here"` // the node has files of the volume
	State     replica.State `json:"state"`
	Epoch     ballast.Epoch `json:"epoch"` // the highest that it has heard of
	WrittenAt time.Time     `json:"written_at,omitzero"`
	Err       string        `json:"error,omitempty"`
}

// handleNodes adds to mux what this node answers other nodes about volumes: their agents, of
// which [peer.From] tells the names.
func (n *node) handleNodes(mux *http.ServeMux) {
	mux.Handle(ballastv1connect.NewVolumeServiceHandler(volumeService{node: n}, connect.WithReadMaxBytes(maxRequest)))
	mux.HandleFunc("POST /volumes/{volume}/prepare", n.answerPrepare)
	mux.HandleFunc("GET /volumes/{volume}/chunks/{chunk}", n.answerChunk)
	mux.HandleFunc("GET /volumes/{volume}/copy", n.answerCopy)
	mux.HandleFunc("GET /volumes/{volume}/owner", n.answerOwner)
	mux.HandleFunc("POST /volumes/{volume}/purge", n.answerPurge)
	mux.HandleFunc("GET /certificate", n.answerCertificate)
}

// certificateReply says until when this node's certificate is good.
type certificateReply struct {
	Until time.Time `json:"until,omitzero"`
}

func (n *node) answerCertificate(w http.ResponseWriter, _ *http.Request) {
	var reply certificateReply
	if net := n.network(); net != nil {
		_, reply.Until = net.own.Validity()
	}
	answerJSON(w, reply, nil)
}

// learnCertificate asks another node that is up until when its certificate is good: for how long the
// others believe it. One that does not say leaves it unknown.
func (n *node) learnCertificate(ctx context.Context, v *nodeView) {
	if v.Name == n.cfg.Node || v.state == nodeAway {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	if until, err := n.peers.Certificate(ctx, v.Name); err == nil {
		v.certificateUntil = until
	}
}

// answerPrepare lets the primary go on from the copy here.
func (n *node) answerPrepare(w http.ResponseWriter, r *http.Request) {
	var req prepareRequest
	id := ballast.VolumeID(r.PathValue("volume"))
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChange)).Decode(&req)
	if err != nil {
		err = fmt.Errorf("read request: %w: %w", err, ballast.ErrInvalid)
	}
	if err == nil {
		err = n.allowPeer(r.Context(), id, req.Epoch)
	}
	var point receiver.Point
	if err == nil {
		point, err = n.following.Prepare(r.Context(), id, req.Epoch)
	}
	answerJSON(w, point, err)
}

// allowPeer refuses a node that the volume's record does not call the primary under epoch, or
// that asks a node whose copy does not count.
func (n *node) allowPeer(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) error {
	from, ok := peer.From(ctx)
	if !ok {
		return fmt.Errorf("who asks is not known: %w", ballast.ErrInvalid)
	}
	rec, err := n.recordUnder(ctx, id, epoch)
	if err != nil {
		return err
	}
	switch {
	case rec.Epoch != epoch:
		return fmt.Errorf("the record of volume %q is of epoch %d, not %d: %w", rec.Name, rec.Epoch, epoch, ballast.ErrInUse)
	case rec.Primary != from.Name:
		return fmt.Errorf("node %s is not the primary of volume %q: %w", from.Name, rec.Name, ballast.ErrInUse)
	case !slices.Contains(rec.InSync, n.cfg.Node):
		return fmt.Errorf("the copy of volume %q here is not in sync: %w", rec.Name, ballast.ErrNoCopy)
	}
	return nil
}

// recordUnder returns a volume's record, as a quorum has it where this node knows only an
// earlier epoch.
func (n *node) recordUnder(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (cluster.Record, error) {
	rec, err := n.records.ByID(id)
	if err == nil && rec.Epoch >= epoch {
		return rec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, prepareBudget)
	defer cancel()
	return n.records.Read(ctx, id)
}

// beginningAsked is the writer that asks for a chunk.
func beginningAsked(q url.Values) (volume.Beginning, error) {
	epoch, eerr := strconv.ParseUint(q.Get("epoch"), 10, 64)
	from, ferr := strconv.ParseUint(q.Get("from"), 10, 64)
	after, aerr := strconv.ParseUint(q.Get("after"), 10, 64)
	if eerr != nil || ferr != nil || aerr != nil {
		return volume.Beginning{}, errors.New("it is not said which writer asks")
	}
	return volume.Beginning{Reign: volume.Reign{Epoch: ballast.Epoch(epoch), From: ballast.LSN(from)}, After: ballast.Epoch(after)}, nil
}

// answerChunk lets the primary fill in from the copy here.
func (n *node) answerChunk(w http.ResponseWriter, r *http.Request) {
	id := ballast.VolumeID(r.PathValue("volume"))
	chunk, err := strconv.Atoi(r.PathValue("chunk"))
	if err != nil || chunk < 0 {
		http.Error(w, "no such chunk", http.StatusBadRequest)
		return
	}
	leader, err := beginningAsked(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err = n.allowPeer(r.Context(), id, leader.Epoch)
	p := make([]byte, ballast.ChunkSize)
	if err == nil {
		err = n.following.Chunk(r.Context(), id, leader, chunk, p)
	}
	if err != nil {
		answerJSON(w, nil, err)
		return
	}
	writeChunk(w, p)
}

// answerCopy says where the copy here stands.
func (n *node) answerCopy(w http.ResponseWriter, r *http.Request) {
	id := ballast.VolumeID(r.PathValue("volume"))
	if _, err := n.records.ByID(id); err != nil {
		answerJSON(w, nil, err)
		return
	}
	answerJSON(w, n.copyHere(r.Context(), id), nil)
}

// answerPurge deletes what is here of a volume whose time in the trash is over.
func (n *node) answerPurge(w http.ResponseWriter, r *http.Request) {
	id := ballast.VolumeID(r.PathValue("volume"))
	rec, err := n.records.Read(r.Context(), id)
	if err == nil && !rec.Purging {
		err = fmt.Errorf("volume %q is not being deleted: %w", rec.Name, ballast.ErrInUse)
	}
	if err == nil {
		err = n.deleteCopy(r.Context(), n.slot(id), rec)
	}
	if errors.Is(err, ballast.ErrNotFound) {
		err = nil
	}
	answerJSON(w, struct{}{}, err)
}
