package repository

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/ballast-io/ballast"
)

// version of the format that we write; an older one has no compression, and is refused.
const version = 2

// config says what a repository is.
type config struct {
	Version    uint   `json:"version"`
	ID         string `json:"id"`
	Polynomial string `json:"chunker_polynomial"` // hexadecimal
}

func newConfig() config {
	var id ID
	rand.Read(id[:]) // it never fails; it would end the process
	return config{
		Version:    version,
		ID:         hex.EncodeToString(id[:]),
		Polynomial: strconv.FormatUint(uint64(newPolynomial()), 16),
	}
}

// decodeConfig reads a config, and refuses what restic would refuse.
func decodeConfig(data []byte) (c config, err error) {
	if err := decodeJSON(data, &c); err != nil {
		return config{}, fmt.Errorf("decode config: %w", err)
	}
	if c.Version != version {
		return config{}, fmt.Errorf("decode config: %w: the repository has version %d; Ballast reads version %d", ballast.ErrInvalid, c.Version, version)
	}
	if _, err := ParseID(c.ID); err != nil {
		return config{}, fmt.Errorf("decode config: %w", err)
	}
	p, err := strconv.ParseUint(c.Polynomial, 16, 64)
	if err != nil || !polynomial(p).irreducible() {
		return config{}, fmt.Errorf("decode config: %w: %.40q is no irreducible polynomial", ballast.ErrInvalid, c.Polynomial)
	}
	return c, nil
}

func (c config) encode() ([]byte, error) { return json.Marshal(c) }
