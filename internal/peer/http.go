package peer

import (
	"net/http"

	"github.com/ballast-io/ballast/internal/identity"
)

// JoinPath is where machines ask to join; the only path for who has no certificate.
const JoinPath = "/join"

// serveNode answers a node, which may have been removed since it connected (P3).
func (s *Server) serveNode(w http.ResponseWriter, r *http.Request) {
	who, ok := From(r.Context())
	if !ok || who == (identity.Node{}) || s.cfg.HTTP == nil {
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	if err := s.cfg.Nodes.allow(who); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.cfg.HTTP.ServeHTTP(w, r)
}

// serveStranger answers who has no certificate (P1).
func (s *Server) serveStranger(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != JoinPath || s.cfg.Join == nil {
		http.Error(w, "a certificate of this cluster is needed", http.StatusForbidden)
		return
	}
	s.cfg.Join.ServeHTTP(w, r)
}
