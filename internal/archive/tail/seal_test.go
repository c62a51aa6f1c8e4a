package tail

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync/atomic"
)

// fakeSealer has the properties of the repository's key, and makes the same bytes in every
// run: a counter stands for the random nonce.
type fakeSealer struct {
	key   [32]byte
	nonce atomic.Uint64
}

func newSealer(seed byte) *fakeSealer {
	s := &fakeSealer{}
	s.key[0] = seed
	return s
}

func (s *fakeSealer) stream(nonce, p []byte) []byte {
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(p))
	cipher.NewCTR(block, nonce).XORKeyStream(out, p)
	return out
}

func (s *fakeSealer) mac(p []byte) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write(p)
	return h.Sum(nil)[:16]
}

func (s *fakeSealer) Seal(plain []byte) []byte {
	nonce := make([]byte, 16)
	binary.BigEndian.PutUint64(nonce, s.nonce.Add(1))
	sealed := append(nonce, s.stream(nonce, plain)...)
	return append(sealed, s.mac(sealed)...)
}

func (s *fakeSealer) Unseal(sealed []byte) ([]byte, error) {
	n := len(sealed) - 16
	if n < 16 || !hmac.Equal(s.mac(sealed[:n]), sealed[n:]) {
		return nil, errors.New("unseal: it was damaged, or sealed with another key")
	}
	return s.stream(sealed[:16], sealed[16:n]), nil
}
