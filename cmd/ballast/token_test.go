package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// A person is told what the line is for; the token is on the standard output alone (G9).
func TestTokenOnTerminal(t *testing.T) {
	var stdout, stderr strings.Builder
	c := &cli{outside: outside{stdout: &stdout, stderr: &stderr, columns: func() int { return 80 }, now: func() time.Time { return testNow }}}
	res := &ballastv1.CreateTokenResponse{Token: "BLST1-x", Address: "n1:7420", ExpiresAt: timestamppb.New(testNow.Add(time.Hour))}
	if err := c.printToken(res); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "ballast join BLST1-x n1:7420\n"; got != want {
		t.Errorf("stdout = %q; want %q", got, want)
	}
	if said := stderr.String(); !strings.Contains(said, "2026-11-21 13:00:00 UTC") || strings.Contains(said, "BLST1") {
		t.Errorf("stderr = %q", said)
	}
}
