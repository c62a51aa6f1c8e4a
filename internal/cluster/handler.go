package cluster

import (
	"net/http"
	"strings"
	"sync"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"
)

// Handler answers what other nodes ask of this node's etcd, as its peers or as
// clients. It believes whoever it is called for: the caller lets nobody through but
// nodes of the cluster, over mutual TLS (G10). While this node holds no etcd it
// answers 503.
func (r *Records) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		h := r.serving
		r.mu.Unlock()
		if h == nil {
			http.Error(w, "this node holds no etcd", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, req)
	})
}

// HandlerPaths are the paths, exact or with all below them when they end with a slash,
// that belong to [Records.Handler].
func HandlerPaths() []string {
	return []string{
		"/raft", "/raft/", "/members", "/members/", "/version", "/leases", "/leases/", "/downgrade/",
		"/etcdserverpb.KV/", "/etcdserverpb.Watch/", "/etcdserverpb.Lease/", "/etcdserverpb.Cluster/",
		"/etcdserverpb.Maintenance/", "/grpc.health.v1.Health/",
	}
}

// memberHandler answers for one member, until it is stopped.
type memberHandler struct {
	peers   http.Handler
	clients *grpc.Server
	running sync.WaitGroup // clients' requests

	mu      sync.Mutex // guards everything below
	stopped bool
}

func newMemberHandler(server *etcdserver.EtcdServer) *memberHandler {
	return &memberHandler{
		peers:   etcdhttp.NewPeerHandler(server.Logger(), server),
		clients: v3rpc.Server(server, nil, nil),
	}
}

// ServeHTTP implements [http.Handler].
func (h *memberHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.ProtoMajor == 2 && strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc") {
		if !h.begin() {
			http.Error(w, "this node's etcd ends", http.StatusServiceUnavailable)
			return
		}
		defer h.running.Done()
		h.clients.ServeHTTP(w, req)
		return
	}
	h.peers.ServeHTTP(w, req)
}

// begin reports whether a client may be answered, and counts it.
func (h *memberHandler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.running.Add(1)
	}
	return !h.stopped
}

// stop ends what clients have open, and lets no more come. What peers have open ends
// with the member.
func (h *memberHandler) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.clients.Stop()
	h.running.Wait()
}
