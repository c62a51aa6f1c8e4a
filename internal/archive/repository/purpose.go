package repository

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Sealer seals what is no file of the repository, with keys of its own: what was sealed
// for one purpose is nothing under another one's keys, nor under those of the repository's
// files (A6). Safe for concurrent use.
type Sealer struct{ sealer *sealer }

// Sealer returns the sealer of a purpose. Its keys come from the master key and the
// purpose alone: they are the same whatever password opened the repository.
func (r *Repository) Sealer(purpose string) *Sealer {
	s, err := r.master.derive(purpose)
	if err != nil {
		panic(err) // the sizes are constants, and tested
	}
	return &Sealer{sealer: s}
}

// derive returns the sealer of a purpose.
func (s secret) derive(purpose string) (*sealer, error) {
	if seeded(onePurpose) {
		purpose = ""
	}
	const encrypt, k, r = 32, 16, 16
	b, err := hkdf.Key(sha256.New, slices.Concat(s.Encrypt, s.MAC.K, s.MAC.R), nil, purpose, encrypt+k+r)
	if err != nil {
		return nil, fmt.Errorf("derive a key for %q: %w", purpose, err)
	}
	d := secret{Encrypt: b[:encrypt]}
	d.MAC.K, d.MAC.R = b[encrypt:encrypt+k], b[encrypt+k:]
	return d.sealer()
}

// Seal encrypts and authenticates plain, in new memory. It adds [Overhead] bytes.
func (s *Sealer) Seal(plain []byte) []byte { return s.sealer.seal(plain) }

// Unseal returns what Seal was given, in new memory, or an error where the bytes
// are not what Seal returned for this purpose.
func (s *Sealer) Unseal(sealed []byte) ([]byte, error) {
	plain, err := s.sealer.unseal(slices.Clone(sealed))
	if err != nil {
		return nil, fmt.Errorf("unseal %d bytes: %w", len(sealed), err)
	}
	return plain, nil
}
