package repository

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// A repository names a polynomial over GF(2), by which restic cuts files into
// pieces. We do not cut so, but restic refuses a repository whose polynomial is
// not irreducible.
type polynomial uint64

// degree of every polynomial in use.
const degree = 53

// newPolynomial finds an irreducible one: about every 53rd is.
func newPolynomial() polynomial {
	for {
		var b [8]byte
		rand.Read(b[:]) // it never fails; it would end the process
		p := polynomial(binary.LittleEndian.Uint64(b[:])&(1<<degree-1) | 1<<degree | 1)
		if p.irreducible() {
			return p
		}
	}
}

// irreducible is Rabin's test for a prime degree: p divides x^(2^53) - x, and shares
// no factor with x^2 - x, that is, has neither 0 nor 1 as a root.
func (p polynomial) irreducible() bool {
	if bits.Len64(uint64(p)) != degree+1 || p&1 == 0 || bits.OnesCount64(uint64(p))%2 == 0 {
		return false
	}
	const x = polynomial(2)
	y := x
	for range degree {
		y = p.square(y)
	}
	return y == x
}

// square returns a*a modulo p.
func (p polynomial) square(a polynomial) (sum polynomial) {
	for b := a; b != 0; b >>= 1 {
		if b&1 != 0 {
			sum ^= a
		}
		if a <<= 1; a>>degree != 0 {
			a ^= p
		}
	}
	return sum
}
