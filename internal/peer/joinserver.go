package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/quiet"
)

// Admission is a machine that may become a node if its token says so.
type Admission struct {
	Token   string             // its id
	Hash    identity.TokenHash // of the secret that the machine said
	Node    ballast.NodeID     // the name it wants
	Address string             // where it is to be reached, host:port
	Release string             // of its program
}

// Registry is what the cluster knows of tokens and nodes.
type Registry interface {
	// Authority returns the cluster's authority.
	Authority(ctx context.Context) (*identity.Authority, error)
	// Admit spends the token and enters the node under a generation that no earlier node
	// of that name had: both or neither, and of many at once for one token one.
	// It returns the generation and the addresses of the cluster's nodes, the one that
	// answers first. The error wraps [ballast.ErrNotFound] for a token that is not known,
	// whose hash differs, or that is spent, [ballast.ErrExists] for a name that is taken.
	Admit(ctx context.Context, a Admission) (generation uint64, nodes []identity.Address, err error)
}

const (
	maxClockGap  = 5 * time.Minute // certificates begin an hour back, so that less is no trouble
	joinPatience = 20 * time.Second
)

// JoinHandler answers machines that ask to join. It bounds how often one machine may
// fail, and logs every failure.
func JoinHandler(registry Registry, log *slog.Logger) http.Handler {
	return &joinHandler{registry: registry, log: log, failed: newLimit(), refusals: quiet.NewLog(log)}
}

type joinHandler struct {
	registry Registry
	log      *slog.Logger
	failed   *limit
	refusals *quiet.Log
}

// ServeHTTP implements [http.Handler].
func (h *joinHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	answer, asked, err := h.join(r, host)
	w.Header().Set("Content-Type", "application/json")
	if err == nil {
		h.log.Info("a node joined the cluster", "node", asked.Node, "address", asked.Address, "generation", answer.Generation, "token", asked.Token, "from", host)
		_ = json.NewEncoder(w).Encode(answer) // who does not hear it joins again
		return
	}
	refusal := asRefusal(err)
	h.refusals.Warn("join "+host, "a machine was refused to join", "from", host, "node", clip(asked.Node), "token", clip(asked.Token), "code", refusal.Code, "error", err)
	w.WriteHeader(statusOf(refusal))
	_ = json.NewEncoder(w).Encode(joinRefusal(*refusal)) // nothing was changed
}

func statusOf(r *Refusal) int {
	switch r.Code {
	case refusedToken:
		return http.StatusForbidden
	case refusedName:
		return http.StatusConflict
	case refusedRate:
		return http.StatusTooManyRequests
	case refusedLater:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// join decides on one machine, cheapest question first; the token is spent last (P5).
func (h *joinHandler) join(r *http.Request, host string) (joinAnswer, joinRequest, error) {
	if !h.failed.may(host, time.Now()) {
		return joinAnswer{}, joinRequest{}, &Refusal{refusedRate, "too many joins from this machine failed; wait a minute and try again"}
	}
	asked, err := readJoinRequest(r)
	if err == nil {
		err = checkClock(asked.Time, time.Now())
	}
	var answer joinAnswer
	if err == nil {
		answer, err = h.admit(r.Context(), asked)
	}
	if err != nil && asRefusal(err).Code != refusedLater {
		h.failed.count(host, time.Now())
	}
	return answer, asked, err
}

func readJoinRequest(r *http.Request) (joinRequest, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxJoinRequest+1))
	if err != nil {
		return joinRequest{}, &Refusal{refusedRequest, "the request to join did not arrive"}
	}
	return decodeJoinRequest(data)
}

func checkClock(theirs, ours time.Time) error {
	gap := theirs.Sub(ours)
	if gap.Abs() <= maxClockGap {
		return nil
	}
	way := "ahead of"
	if gap < 0 {
		way = "behind"
	}
	return &Refusal{refusedClock, fmt.Sprintf("the machine's clock is %s %s the cluster's, and certificates would not be believed; set it (timedatectl set-ntp true) and join again", gap.Abs().Round(time.Second), way)}
}

func (h *joinHandler) admit(ctx context.Context, asked joinRequest) (joinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	authority, err := h.registry.Authority(ctx)
	if err != nil {
		return joinAnswer{}, err
	}
	host, _, _ := net.SplitHostPort(asked.Address) // checked before
	sign := func(generation uint64) ([]byte, error) {
		return authority.Sign(asked.Request, ballast.NodeID(asked.Node), generation, []string{host}, identity.Lifetime)
	}
	// Tried before the token is spent: what cannot be signed spends none.
	if _, err := sign(1); err != nil {
		return joinAnswer{}, err
	}
	secret, err := identity.ParseSecret(asked.Secret)
	if err != nil {
		return joinAnswer{}, &Refusal{refusedToken, unknownToken}
	}
	generation, nodes, err := h.registry.Admit(ctx, Admission{
		Token: asked.Token, Hash: identity.HashSecret(asked.Token, secret),
		Node: ballast.NodeID(asked.Node), Address: asked.Address, Release: clip(asked.Release),
	})
	if errors.Is(err, ballast.ErrNotFound) {
		return joinAnswer{}, fmt.Errorf("%w: %w", &Refusal{refusedToken, unknownToken}, err)
	}
	if err != nil {
		return joinAnswer{}, err
	}
	cert, err := sign(generation)
	return joinAnswer{joinVersion, authority.Cluster(), generation, cert, nodes}, err
}

// clip keeps what a stranger wrote from filling a message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
