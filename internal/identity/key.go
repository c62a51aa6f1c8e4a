package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
)

// Key is a node's private key. It does not print.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes a key (I2).
func NewKey() (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	return Key{private}, nil
}

// ParseKey reads what [Key.Encode] wrote. Its errors show nothing of data.
func ParseKey(data []byte) (Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, errors.New("the node's key is damaged")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return Key{}, errors.New("the node's key is damaged")
	}
	return Key{private}, nil
}

// Encode returns the key as PEM.
func (k Key) Encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode the node's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Request returns a signing request for the key, for [Authority.Sign].
func (k Key) Request() ([]byte, error) {
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k.private)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	return request, nil
}

// String hides the key (I4).
func (Key) String() string { return hidden }

// GoString hides the key.
func (Key) GoString() string { return hidden }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the key.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const maxRequest = 4 << 10 // bytes

// publicKeyOf returns the key of a signing request whose sender has the private one.
func publicKeyOf(request []byte) (*ecdsa.PublicKey, error) {
	if len(request) > maxRequest {
		return nil, fmt.Errorf("the signing request has %d bytes, more than the %d it can have", len(request), maxRequest)
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, errors.New("the signing request is damaged")
	}
	public, ok := parsed.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the signing request is not for an ECDSA key on P-256")
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, errors.New("the signing request is not signed by its own key")
	}
	return public, nil
}
