package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

// joinVersion is the version of the messages of a join. A node answers its own and
// the one before.
const (
	joinVersion    = 1
	oldestJoin     = 1
	maxJoinRequest = 16 << 10 // bytes
	maxJoinAnswer  = 1 << 20  // bytes
)

// joinRequest is what a machine says to join.
type joinRequest struct {
	Version int       `json:"version"`
	Release string    `json:"release"` // of the program, for people
	Token   string    `json:"token"`   // its id
	Secret  string    `json:"secret"`
	Node    string    `json:"node"`    // the name it wants
	Address string    `json:"address"` // where it is to be reached, host:port
	Request []byte    `json:"request"` // to sign its certificate
	Time    time.Time `json:"time"`    // by its clock
}

// joinAnswer is what a machine is told that may join.
type joinAnswer struct {
	Version     int                `json:"version"`
	Cluster     string             `json:"cluster"`
	Generation  uint64             `json:"generation"`
	Certificate []byte             `json:"certificate"` // PEM
	Nodes       []identity.Address `json:"nodes"`       // of the cluster, the one that answers first
}

// joinRefusal is the body of any other answer than 200.
type joinRefusal struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Why a join is refused.
const (
	refusedRequest = "bad-request"
	refusedVersion = "version"
	refusedClock   = "clock"
	refusedToken   = "token"
	refusedName    = "name-taken"
	refusedRate    = "too-many"
	refusedLater   = "not-ready"
)

// Refusal is a join that the cluster refused. Nothing was changed.
type Refusal struct {
	Code string // for machines
	Text string // what is wrong and what to do, for people
}

func (r *Refusal) Error() string { return r.Text }

// Is makes a refusal one of the errors that callers branch on.
func (r *Refusal) Is(target error) bool {
	switch r.Code {
	case refusedName:
		return target == ballast.ErrExists
	case refusedLater, refusedRate:
		return target == ballast.ErrNotReady
	}
	return target == ballast.ErrInvalid
}

// decodeJoinRequest reads what a stranger sent. The error is a [*Refusal].
func decodeJoinRequest(data []byte) (joinRequest, error) {
	var r joinRequest
	if len(data) > maxJoinRequest {
		return r, &Refusal{refusedRequest, "the request to join is too long"}
	}
	// The version first: what else there is may mean something else in another one.
	var v struct {
		Version int    `json:"version"`
		Release string `json:"release"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return r, &Refusal{refusedRequest, "the request to join is not understood"}
	}
	if v.Version < oldestJoin || v.Version > joinVersion {
		return r, &Refusal{refusedVersion, fmt.Sprintf("the machine runs ballast %.32q, which joins with messages of version %d, and this cluster understands %d to %d; install the cluster's release there and join again",
			v.Release, v.Version, oldestJoin, joinVersion)}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&r); err != nil || decoder.More() {
		return r, &Refusal{refusedRequest, "the request to join is not understood"}
	}
	return r, r.check()
}

// check refuses what no machine of ours sends.
func (r joinRequest) check() error {
	if err := CheckNodeName(ballast.NodeID(r.Node)); err != nil {
		return &Refusal{refusedRequest, err.Error()}
	}
	if err := CheckAddress(r.Address); err != nil {
		return &Refusal{refusedRequest, err.Error()}
	}
	if _, err := identity.ParseSecret(r.Secret); err != nil || !identity.IsTokenID(r.Token) {
		return &Refusal{refusedToken, unknownToken}
	}
	return nil
}

const unknownToken = "the token is not known: it was used already, its time is over, or it was never made; `ballast token create` on a node of the cluster makes another"

// maxNodeName is what a certificate's common name has room for, in bytes.
const maxNodeName = 64

// CheckNodeName returns an [ballast.ErrInvalid] when name cannot be a node's of a cluster.
func CheckNodeName(name ballast.NodeID) error {
	if err := ballast.CheckVolumeName(string(name)); err != nil || len(name) > maxNodeName {
		return fmt.Errorf("node name %.64q: a name starts with a letter or digit, goes on with letters, digits, '_', '.' and '-', and has up to %d of them: %w", name, maxNodeName, ballast.ErrInvalid)
	}
	return nil
}

// CheckAddress returns an [ballast.ErrInvalid] when address is not one that other nodes
// can reach a node at: host:port, and the host not that of every address.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(address) > 300 {
		return fmt.Errorf("address %.64q: give host:port: %w", address, ballast.ErrInvalid)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %.64q: the port is a number from 1 to 65535: %w", address, ballast.ErrInvalid)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return fmt.Errorf("address %.64q: other nodes cannot reach that; give the address that they know this node by: %w", address, ballast.ErrInvalid)
	}
	return nil
}

// asRefusal returns err as what a stranger may be told of it.
func asRefusal(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	for _, known := range []struct {
		is   error
		code string
	}{
		{ballast.ErrNotFound, refusedToken},
		{ballast.ErrExists, refusedName},
		{ballast.ErrInvalid, refusedRequest},
	} {
		if errors.Is(err, known.is) {
			return &Refusal{known.code, err.Error()}
		}
	}
	return &Refusal{refusedLater, "the cluster cannot take anybody in at the moment; see the log of the node that was asked, and try again"}
}
