package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ballast-io/ballast"
)

// base32Text is how bytes are written in tokens and ids: one spelling, in small letters.
var base32Text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	tokenPrefix = "BLST1"
	tokenIDLen  = 10 // bytes
	idLen       = 26 // letters
)

// NewClusterID returns an id that no cluster has: 26 letters and digits.
func NewClusterID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, says its documentation
	return base32Text.EncodeToString(raw[:])
}

func isClusterID(s string) bool {
	raw, err := base32Text.DecodeString(s)
	return err == nil && len(s) == idLen && base32Text.EncodeToString(raw) == s
}

// Digest is the SHA-256 of an authority's certificate.
type Digest [sha256.Size]byte

// String returns the digest as tokens carry it.
func (d Digest) String() string { return base32Text.EncodeToString(d[:]) }

// Secret is 128 bits that only who joins knows. It does not print.
type Secret [16]byte

// ParseSecret reads what [Secret.Reveal] wrote.
func ParseSecret(s string) (Secret, error) {
	var secret Secret
	if err := decodeExactly(secret[:], s); err != nil {
		return Secret{}, fmt.Errorf("parse secret: it is not one: %w", ballast.ErrInvalid)
	}
	return secret, nil
}

// Reveal returns the secret in letters.
func (s Secret) Reveal() string { return base32Text.EncodeToString(s[:]) }

const hidden = "(secret)"

// String hides the secret (I4).
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Token lets one machine join one cluster, once.
type Token struct {
	Authority Digest // whom to tell the secret
	ID        string // under which the cluster knows it
	Secret    Secret
}

// NewToken returns a token that nobody has seen.
func NewToken(authority Digest) Token {
	t := Token{Authority: authority}
	var id [tokenIDLen]byte
	_, _ = rand.Read(id[:])       // never fails, says its documentation
	_, _ = rand.Read(t.Secret[:]) // nor does this
	t.ID = base32Text.EncodeToString(id[:])
	return t
}

// ParseToken reads what [Token.Reveal] wrote, and nothing else. The error is an
// [ballast.ErrInvalid] that shows nothing of s.
func ParseToken(s string) (Token, error) {
	parts := strings.Split(s, "-")
	if len(s) > 128 || len(parts) != 4 || parts[0] != tokenPrefix || !IsTokenID(parts[2]) {
		return Token{}, errNoToken
	}
	t := Token{ID: parts[2]}
	if decodeExactly(t.Authority[:], parts[1]) != nil || decodeExactly(t.Secret[:], parts[3]) != nil {
		return Token{}, errNoToken
	}
	return t, nil
}

var errNoToken = fmt.Errorf("this is no join token, or not the whole of one; `ballast token create` on a node of the cluster prints one: %w", ballast.ErrInvalid)

// IsTokenID reports whether s can be the id of a token.
func IsTokenID(s string) bool {
	var id [tokenIDLen]byte
	return decodeExactly(id[:], s) == nil
}

// Reveal returns the token as people paste it.
func (t Token) Reveal() string {
	return strings.Join([]string{tokenPrefix, t.Authority.String(), t.ID, t.Secret.Reveal()}, "-")
}

// String returns the token without its secret.
func (t Token) String() string { return tokenPrefix + "-…-" + t.ID + "-" + hidden }

// TokenHash is what the cluster keeps of a token's secret.
type TokenHash [sha256.Size]byte

// Hash returns what is stored of t. Its secret has 128 bits by chance, so that it
// cannot be found by trying.
func (t Token) Hash() TokenHash { return HashSecret(t.ID, t.Secret) }

// HashSecret returns the hash of a token of which only these two are known.
func HashSecret(id string, secret Secret) TokenHash {
	return sha256.Sum256([]byte("ballast join token " + id + " " + secret.Reveal()))
}

// Equal compares in a time that tells nothing.
func (h TokenHash) Equal(other TokenHash) bool {
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1
}

// decodeExactly fills p from s, which must be its one spelling.
func decodeExactly(p []byte, s string) error {
	if len(s) != base32Text.EncodedLen(len(p)) {
		return errNoToken
	}
	raw, err := base32Text.DecodeString(s)
	if err != nil || base32Text.EncodeToString(raw) != s {
		return errNoToken
	}
	copy(p, raw)
	return nil
}
