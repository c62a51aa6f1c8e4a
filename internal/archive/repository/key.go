package repository

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/crypto/scrypt"

	"github.com/ballast-io/ballast"
)

// saltSize in bytes; the format knows no other.
const saltSize = 64

// scryptCost is how dear a guess of the password is.
type scryptCost struct{ N, R, P int }

// defaultCost takes 32 MiB, and a third of a second.
var defaultCost = scryptCost{N: 1 << 15, R: 8, P: 3}

// check holds what a key file asks for to limits (A5): 256 MiB, and some seconds.
func (c scryptCost) check() error {
	const maxMemory, maxWork = 256 << 20, 1 << 24
	switch {
	case c.N < 2 || c.R < 1 || c.P < 1 || bits.OnesCount(uint(c.N)) != 1:
	case c.N > maxWork || c.R > maxWork/c.N || c.P > maxWork/(c.N*c.R) || 128*c.N*c.R > maxMemory:
		return fmt.Errorf("%w: its scrypt parameters N=%d r=%d p=%d ask for more than a key may", ballast.ErrInvalid, c.N, c.R, c.P)
	default:
		return nil
	}
	return fmt.Errorf("%w: its scrypt parameters N=%d r=%d p=%d are none", ballast.ErrInvalid, c.N, c.R, c.P)
}

// keyFile is the master key, sealed with a password. It is stored as it is.
type keyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"`
}

func (k *keyFile) cost() scryptCost { return scryptCost{k.N, k.R, k.P} }

// newKeyFile seals a master key with a password.
func newKeyFile(master secret, password []byte, host Host, cost scryptCost) (*keyFile, error) {
	k := &keyFile{
		Created: time.Now(), Username: host.User, Hostname: host.Name,
		KDF: "scrypt", N: cost.N, R: cost.R, P: cost.P, Salt: make([]byte, saltSize),
	}
	rand.Read(k.Salt) // it never fails; it would end the process
	s, err := k.derive(password)
	if err != nil {
		return nil, err
	}
	plain, err := master.encode()
	if err != nil {
		return nil, err
	}
	k.Data = s.seal(plain)
	return k, nil
}

// decodeKeyFile reads a key file and holds it to the limits.
func decodeKeyFile(data []byte) (*keyFile, error) {
	k := &keyFile{}
	if err := decodeJSON(data, k); err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	if k.KDF != "scrypt" || len(k.Salt) != saltSize {
		return nil, fmt.Errorf("decode key: %w: want kdf scrypt and %d bytes of salt, not %.20q and %d", ballast.ErrInvalid, saltSize, k.KDF, len(k.Salt))
	}
	if err := k.cost().check(); err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	return k, nil
}

func (k *keyFile) encode() ([]byte, error) { return json.Marshal(k) }

// open returns the master key. Another password's key is an [ErrWrongPassword].
func (k *keyFile) open(password []byte) (secret, error) {
	s, err := k.derive(password)
	if err != nil {
		return secret{}, err
	}
	plain, err := s.unseal(append([]byte(nil), k.Data...))
	if errors.Is(err, errMAC) {
		return secret{}, ErrWrongPassword
	}
	if err != nil {
		return secret{}, err
	}
	return decodeSecret(plain)
}

// derive turns a password into a key.
func (k *keyFile) derive(password []byte) (*sealer, error) {
	b, err := scrypt.Key(password, k.Salt, k.N, k.R, k.P, 64)
	if err != nil {
		return nil, fmt.Errorf("derive key from password: %w", err)
	}
	s := secret{Encrypt: b[:32]}
	s.MAC.K, s.MAC.R = b[32:48], b[48:64]
	return s.sealer()
}
