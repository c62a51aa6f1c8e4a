package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
)

func TestCameNever(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen cluster.Session
		want bool
	}{
		{"admitted a moment ago", cluster.Session{Quiet: time.Second}, false},
		{"admitted long ago, never there", cluster.Session{Quiet: cameLate + time.Second}, true},
		{"there", cluster.Session{Number: 1}, false},
		{"there once, away since", cluster.Session{Number: 3, Quiet: time.Hour, Over: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cameNever(tt.seen); got != tt.want {
				t.Errorf("cameNever = %t; want %t", got, tt.want)
			}
		})
	}
}

// A name that was given a moment ago is not given again, and the token that asked is not spent.
func TestNameOfWhoIsOnItsWay(t *testing.T) {
	n := clusterOfThree(t)
	authority, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	token := identity.NewToken(authority.Digest())
	hash := token.Hash()
	if err := n.records.PutToken(t.Context(), token.ID, hash[:], time.Minute); err != nil {
		t.Fatal(err)
	}
	ask := peer.Admission{Token: token.ID, Hash: hash, Node: "n2", Address: "10.0.0.9:7420"}
	if _, _, err := (registry{n}).Admit(t.Context(), ask); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("Admit = %v; want the name taken", err)
	}
	ask.Node = "n4"
	if _, _, err := (registry{n}).Admit(t.Context(), ask); err != nil {
		t.Errorf("the token is spent by what was refused: %v", err)
	}
}
