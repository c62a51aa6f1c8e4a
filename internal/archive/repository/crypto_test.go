package repository

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

// A2: sealed bytes are what was sealed, or an error.
func TestUnsealRefusesEverythingButWhatWasSealed(t *testing.T) {
	one, _ := newTestRepository(t)
	other, _ := newTestRepository(t)
	r := one.Sealer("test")
	plain := []byte("a volume's bytes")
	sealed := r.Seal(plain)
	if len(sealed) != len(plain)+Overhead {
		t.Errorf("sealing adds %d bytes; want %d", len(sealed)-len(plain), Overhead)
	}
	if got, err := r.Unseal(sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Unseal = %q, %v; want %q", got, err, plain)
	}
	if bytes.Equal(sealed, r.Seal(plain)) {
		t.Error("two seals of one text are equal: the IV is not random")
	}
	if _, err := other.Sealer("test").Unseal(sealed); err == nil {
		t.Error("another repository's key unseals it")
	}
	for i := range sealed {
		for bit := range 8 {
			flipped := slices.Clone(sealed)
			flipped[i] ^= 1 << bit
			if _, err := r.Unseal(flipped); err == nil {
				t.Errorf("a flip of bit %d of byte %d goes unnoticed", bit, i)
			}
		}
		if _, err := r.Unseal(sealed[:i]); err == nil {
			t.Errorf("the first %d bytes are taken for all", i)
		}
	}
}

// A6: what was sealed for one purpose is refused for another, both ways. A blob is sealed
// with the master key itself, and a user of a volume chooses what it says.
func TestSealedForOnePurposeIsRefusedForAnother(t *testing.T) {
	r, m := newTestRepository(t)
	again, err := Open(t.Context(), m, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	header := []byte("what a header of the tail says")
	type unsealer func(sealed []byte) ([]byte, error)
	seals := map[string]func(plain []byte) []byte{
		"the repository": r.sealer.seal, "tail": r.Sealer("tail").Seal, "tail 2": r.Sealer("tail 2").Seal,
	}
	unseals := map[string]unsealer{
		"the repository": func(b []byte) ([]byte, error) { return again.sealer.unseal(slices.Clone(b)) },
		"tail":           again.Sealer("tail").Unseal, "tail 2": again.Sealer("tail 2").Unseal,
	}
	for by, seal := range seals {
		for of, unseal := range unseals {
			got, err := unseal(seal(header))
			if by == of && (err != nil || !bytes.Equal(got, header)) {
				t.Errorf("what was sealed for %s cannot be read again: %v", by, err)
			}
			if by != of && err == nil {
				t.Errorf("what was sealed for %s is accepted for %s", by, of)
			}
		}
	}
}

// The keys of a purpose are part of the format: this is a vector of it.
func TestDerivedKeyVector(t *testing.T) {
	s := secret{Encrypt: bytes.Repeat([]byte{1}, 32)}
	s.MAC.K, s.MAC.R = bytes.Repeat([]byte{2}, 16), bytes.Repeat([]byte{3}, 16)
	derived, err := s.derive("ballast log tail")
	if err != nil {
		t.Fatal(err)
	}
	const want = "6261ebc98554f75e22610220dec9f59f"
	if got := hex.EncodeToString(derived.r[:]); got != want {
		t.Errorf("r = %s; want %s", got, want)
	}
}

func TestKeysOfZerosAndOfOtherSizesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(s *secret){
		"no encrypt":    func(s *secret) { s.Encrypt = nil },
		"zero encrypt":  func(s *secret) { s.Encrypt = make([]byte, 32) },
		"short encrypt": func(s *secret) { s.Encrypt = s.Encrypt[:16] },
		"zero k":        func(s *secret) { s.MAC.K = make([]byte, 16) },
		"long k":        func(s *secret) { s.MAC.K = append(s.MAC.K, 1) },
		"zero r":        func(s *secret) { s.MAC.R = make([]byte, 16) },
	} {
		s := newSecret()
		spoil(&s)
		if _, err := s.sealer(); err == nil {
			t.Errorf("%s: it is taken for a key", name)
		}
	}
}

// Every polynomial that is made is irreducible by trial, too, as far as trial goes, and
// no product passes.
func TestIrreducible(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, seed))
	for range 3 {
		p := newPolynomial()
		for q := polynomial(2); q < 1<<14; q++ {
			if remainder(p, q) == 0 {
				t.Fatalf("%x is divisible by %x", uint64(p), uint64(q))
			}
		}
	}
	for range 2000 {
		d := 1 + rng.IntN(degree-1)
		a := polynomial(rng.Uint64N(1<<d) | 1<<d)
		b := polynomial(rng.Uint64N(1<<(degree-d)) | 1<<(degree-d))
		if p := product(a, b); p.irreducible() {
			t.Fatalf("seed %d: %x is %x times %x, and passes for irreducible", seed, uint64(p), uint64(a), uint64(b))
		}
	}
	if polynomial(0x3DA3358B4DC173).irreducible() == false {
		t.Error("the polynomial of restic's own documentation is refused")
	}
}

func remainder(a, b polynomial) polynomial {
	for deg(a) >= deg(b) {
		a ^= b << (deg(a) - deg(b))
	}
	return a
}

func product(a, b polynomial) (sum polynomial) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			sum ^= a
		}
		a <<= 1
	}
	return sum
}

func deg(p polynomial) int {
	d := -1
	for ; p != 0; p >>= 1 {
		d++
	}
	return d
}

// A5: a key file cannot make us use memory or time without end.
func TestKeyFilesAreHeldToLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		cost scryptCost
		ok   bool
	}{
		{"ours", defaultCost, true},
		{"restic's on a fast machine", scryptCost{32768, 8, 8}, true},
		{"of the documentation", scryptCost{65536, 8, 1}, true},
		{"no power of two", scryptCost{32767, 8, 1}, false},
		{"none", scryptCost{}, false},
		{"negative", scryptCost{-32768, 8, 1}, false},
		{"r of zero", scryptCost{32768, 0, 1}, false},
		{"too much memory", scryptCost{1 << 20, 8, 1}, false},
		{"an overflow", scryptCost{1 << 62, 1 << 30, 1 << 30}, false},
		{"forever", scryptCost{1 << 15, 8, 1 << 20}, false},
	} {
		if err := tt.cost.check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v; want it allowed: %t", tt.name, err, tt.ok)
		}
	}
}

func TestOpenTellsAWrongPasswordFromNoRepository(t *testing.T) {
	_, m := newTestRepository(t)
	if _, err := Open(t.Context(), m, []byte("wrong")); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("Open with a wrong password: %v; want %v", err, ErrWrongPassword)
	}
	if _, err := Open(t.Context(), newMemory(), []byte(password)); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("Open of nothing: %v; want %v", err, ballast.ErrNotFound)
	}
	if _, err := Init(t.Context(), m, []byte("other"), Host{}); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("a second Init: %v; want %v", err, ballast.ErrExists)
	}
}

// An Init that fails at any call leaves nothing that opens and is not whole.
func TestInitAtEveryFailure(t *testing.T) {
	for n := 1; ; n++ {
		m := newMemory()
		m.fail = func(call int, _, _ string) (error, bool) {
			if call >= n {
				return errors.New("no"), call == n
			}
			return nil, false
		}
		if _, err := initWith(t.Context(), m, []byte(password), Host{}, cheap); err == nil {
			return
		}
		if r, err := Open(t.Context(), m.clone(), []byte(password)); err == nil && len(problems(t, r)) > 0 {
			t.Errorf("after a failure of call %d the repository opens and is damaged", n)
		}
	}
}

func TestKeysComeAndGo(t *testing.T) {
	r, m := newTestRepository(t)
	first := r.key.String()
	added, err := r.AddKey(t.Context(), []byte("second"), Host{"there", "you"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys are %+v, %v; want two", keys, err)
	}
	if err := r.RemoveKey(t.Context(), first); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("removing the key in use: %v; want %v", err, ballast.ErrInUse)
	}
	if err := r.RemoveKey(t.Context(), "zz"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("removing a key that is not there: %v; want %v", err, ballast.ErrNotFound)
	}
	if err := r.RemoveKey(t.Context(), ""); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("removing no key: %v; want %v", err, ballast.ErrNotFound)
	}
	resticWith(t, "second", m.dump(t), "check")

	second, err := Open(t.Context(), m, []byte("second"))
	if err != nil {
		t.Fatal(err)
	}
	if second.ID() != r.ID() || second.key.String() != added.ID {
		t.Error("the second key opens another repository, or is another key")
	}
	if err := second.RemoveKey(t.Context(), first[:8]); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), m, []byte(password)); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("a removed key opens: %v", err)
	}
	if err := r.RemoveKey(t.Context(), added.ID); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("somebody without a key of their own removes the last one: %v", err)
	}
}

// Whenever changing the password fails, one of the two opens.
func TestChangePasswordAtEveryFailure(t *testing.T) {
	r, whole := newTestRepository(t)
	for n := 1; ; n++ {
		m := whole.clone()
		m.fail = func(call int, _, _ string) (error, bool) {
			if call == n {
				return errors.New("no"), n%2 == 0
			}
			return nil, false
		}
		mine := r.again(t, m)
		key, err := mine.ChangePassword(t.Context(), []byte("new"), Host{"there", "you"})
		m.fail = nil
		if _, errOld := Open(t.Context(), m, []byte(password)); errOld != nil {
			if _, errNew := Open(t.Context(), m, []byte("new")); errNew != nil {
				t.Fatalf("call %d: neither password opens: %v, %v", n, errOld, errNew)
			}
		}
		if err == nil && m.calls < n {
			if !key.Current || key.Created.After(time.Now()) {
				t.Errorf("the new key is %+v", key)
			}
			if _, err := Open(t.Context(), m, []byte(password)); !errors.Is(err, ErrWrongPassword) {
				t.Errorf("the old password still opens: %v", err)
			}
			return
		}
	}
}
