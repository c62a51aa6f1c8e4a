package identity

import (
	"errors"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

func TestTokenIsReadAsWritten(t *testing.T) {
	a := newTestAuthority(t)
	token := NewToken(a.Digest())
	got, err := ParseToken(token.Reveal())
	if err != nil || got != token {
		t.Errorf("parse what was written: %v, the same: %t", err, got == token)
	}
	if other := NewToken(a.Digest()); other.ID == token.ID || other.Secret == token.Secret {
		t.Error("two tokens are alike")
	}
	if !token.Hash().Equal(HashSecret(token.ID, token.Secret)) {
		t.Error("the hash differs from that of its parts")
	}
	if token.Hash().Equal(HashSecret(NewToken(a.Digest()).ID, token.Secret)) {
		t.Error("the hash is that of another token with the same secret")
	}
}

func TestParseTokenRefuses(t *testing.T) {
	good := NewToken(newTestAuthority(t).Digest()).Reveal()
	parts := strings.Split(good, "-")
	// The last letter of a digest of 32 bytes has four bits that say nothing.
	loose := parts[1][:len(parts[1])-1] + "b"
	for name, s := range map[string]string{
		"nothing":              "",
		"with a space":         " " + good,
		"with a line's end":    good + "\n",
		"in capitals":          strings.ToUpper(good),
		"of another product":   "SWMTKN-1-" + good,
		"of another version":   strings.Replace(good, "BLST1", "BLST2", 1),
		"with one part more":   good + "-a",
		"with one part less":   strings.Join(parts[:3], "-"),
		"cut off":              good[:len(good)-1],
		"with a letter more":   good + "a",
		"with a strange digit": strings.Replace(good, parts[3], "1"+parts[3][1:], 1),
		"without a digest":     strings.Join([]string{parts[0], "", parts[2], parts[3]}, "-"),
		"spelled otherwise":    strings.Join([]string{parts[0], loose, parts[2], parts[3]}, "-"),
		"very long":            good + strings.Repeat("-", 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseToken(s)
			if !errors.Is(err, ballast.ErrInvalid) {
				t.Fatalf("ParseToken = %v; want ErrInvalid", err)
			}
			if strings.Contains(err.Error(), parts[3]) {
				t.Error("the error shows the secret")
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken(newTestAuthority(f).Digest()).Reveal())
	f.Add("BLST1---")
	f.Add("BLST1-" + strings.Repeat("a", 52) + "-" + strings.Repeat("a", 16) + "-" + strings.Repeat("a", 26))
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err == nil && token.Reveal() != s {
			t.Errorf("%q is read as a token that is written %q", s, token.Reveal())
		}
	})
}
