package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

// A token goes by itself, by etcd's clock, and lets nobody in from then on (C11). It is lent for less
// than a token may be good for: etcd rounds it up to what its timing allows.
func TestTokenRunsOut(t *testing.T) {
	f := startForeign(t)
	n1 := f.start(t, "n1")
	if _, err := n1.Found(t.Context(), []byte("authority"), Node{Name: "n1", Address: "10.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	n1.SetPeering(f.joined("n1"))
	keys, err := n1.keyspace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := keys.lend(t.Context(), item{key: tokensPrefix + "abc", value: []byte("hash")}, time.Second); !ok || err != nil {
		t.Fatal(ok, err)
	}
	whole := func([]byte) error { return nil }
	eventually(t, "the token runs out", func() error {
		got, err := keys.get(t.Context(), tokensPrefix+"abc")
		if err == nil && got.rev != 0 {
			err = fmt.Errorf("it is there at %d", got.rev)
		}
		return err
	})
	if err := n1.SpendToken(t.Context(), "abc", whole); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("SpendToken = %v", err)
	}
	if _, err := n1.Admit(t.Context(), "abc", whole, Node{Name: "n2", Address: "10.0.0.2:1"}); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("Admit = %v", err)
	}
	if known := n1.Nodes(); len(known) != 1 {
		t.Errorf("nodes %+v; want n1 alone", known)
	}
}
