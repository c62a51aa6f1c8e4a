package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

func newTestAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := NewAuthority(NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// folderOf returns the identity that a gives to node.
func folderOf(t testing.TB, a *Authority, node ballast.NodeID, lifetime time.Duration) Folder {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return Folder{
		Cluster: Cluster{ID: a.Cluster(), Node: node, Generation: 1, Listen: ":7420", Address: "127.0.0.1:7420"},
		CA:      a.Certificate(), Certificate: mustSign(t, a, key, node, 1, lifetime), Key: key,
	}
}

func mustSign(t testing.TB, a *Authority, key Key, node ballast.NodeID, generation uint64, lifetime time.Duration) []byte {
	t.Helper()
	request, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(request, node, generation, []string{"127.0.0.1", "n1.example"}, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func tempDisk(t *testing.T) vfs.FS {
	t.Helper()
	disk, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

func TestAuthoritySurvivesStorage(t *testing.T) {
	a := newTestAuthority(t)
	stored, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(stored)
	if err != nil {
		t.Fatal(err)
	}
	if b.Digest() != a.Digest() || b.Cluster() != a.Cluster() {
		t.Errorf("authority = %s %s; want %s %s", b, b.Digest(), a, a.Digest())
	}
	if err := folderOf(t, b, "n1", time.Hour).Check(); err != nil {
		t.Errorf("what the stored one signs: %v", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(stored, &fields); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]any{"version": 2, "cluster": "x", "cert": "AAAA", "key": "AAAA"} {
		damaged := map[string]any{}
		maps.Copy(damaged, fields)
		damaged[name] = broken
		data, err := json.Marshal(damaged)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseAuthority(data); err == nil {
			t.Errorf("with %s = %v it was accepted", name, broken)
		}
	}
	other, err := newTestAuthority(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var swapped storedAuthority
	if err := errors.Join(json.Unmarshal(stored, &swapped), json.Unmarshal(other, &fields)); err != nil {
		t.Fatal(err)
	}
	swapped.Key = nil
	if data, err := json.Marshal(swapped); err != nil {
		t.Fatal(err)
	} else if _, err := ParseAuthority(data); err == nil {
		t.Error("an authority without its key was accepted")
	}
}

// Only the public key of a request counts, and only one of ours (I2).
func TestSignRefuses(t *testing.T) {
	a := newTestAuthority(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRequest, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		request    []byte
		node       ballast.NodeID
		generation uint64
		hosts      []string
	}{
		{"a request whose signature is wrong", flipped, "n1", 1, nil},
		{"an RSA key", rsaRequest, "n1", 1, nil},
		{"no request", nil, "n1", 1, nil},
		{"a request that is too long", make([]byte, maxRequest+1), "n1", 1, nil},
		{"no name", good, "", 1, nil},
		{"a name that is a path", good, "n1/../n2", 1, nil},
		{"a name with a query", good, "n1?generation=9", 1, nil},
		{"no generation", good, "n1", 0, nil},
		{"a wildcard", good, "n1", 1, []string{"*.example"}},
		{"no host", good, "n1", 1, []string{""}},
		{"too many hosts", good, "n1", 1, make([]string, maxHosts+1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if cert, err := a.Sign(tt.request, tt.node, tt.generation, tt.hosts, time.Hour); !errors.Is(err, ballast.ErrInvalid) {
				t.Errorf("Sign = %d bytes, %v; want ErrInvalid", len(cert), err)
			}
		})
	}
}

// A request that names another node, or asks to be an authority, gets neither (I2).
func TestSignTakesNothingButTheKey(t *testing.T) {
	a := newTestAuthority(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := Node{a.Cluster(), "n2", 1}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "n2"}, URIs: []*url.URL{other.uri()}, DNSNames: []string{"n2"},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}},
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := a.Sign(request, "n1", 3, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCert(signed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := nodeOf(cert); err != nil || got != (Node{a.Cluster(), "n1", 3}) || cert.IsCA || cert.Subject.CommonName != "n1" || len(cert.DNSNames) > 0 {
		t.Errorf("the certificate is for %+v (%v), CA %t, named %s %q", got, err, cert.IsCA, cert.Subject.CommonName, cert.DNSNames)
	}
	// And it signs nobody.
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: newSerial(), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{other.uri()}}, cert, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifyChain([]*x509.Certificate{forged, cert}, a.cert); err == nil {
		t.Error("a certificate that a node signed is believed")
	}
}

func TestParseURI(t *testing.T) {
	cluster := NewClusterID()
	good := Node{cluster, "db-1.example_x", 7}
	if got, err := parseURI(good.uri()); err != nil || got != good {
		t.Errorf("parse what was written = %+v, %v; want %+v", got, err, good)
	}
	for _, s := range []string{
		"ballast://" + cluster + "/node/n1",
		"ballast://" + cluster + "/node/n1?generation=0",
		"ballast://" + cluster + "/node/n1?generation=01",
		"ballast://" + cluster + "/node/n1?generation=-1",
		"ballast://" + cluster + "/node/n1?generation=1&generation=2",
		"ballast://" + cluster + "/node/n1?generation=1#x",
		"ballast://" + cluster + "/node/n1/n2?generation=1",
		"ballast://" + cluster + "/node/%6e1?generation=1",
		"ballast://" + cluster + "/node/?generation=1",
		"ballast://" + cluster + ":1/node/n1?generation=1",
		"ballast://u@" + cluster + "/node/n1?generation=1",
		"ballast:///node/n1?generation=1",
		"https://" + cluster + "/node/n1?generation=1",
		"ballast://" + strings.ToUpper(cluster) + "/node/n1?generation=1",
		"/node/n1?generation=1",
		"ballast:node/n1?generation=1",
	} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseURI(u); err == nil {
			t.Errorf("parse %s = %+v; want an error", s, got)
		}
	}
}

func TestVerify(t *testing.T) {
	ours, theirs := newTestAuthority(t), newTestAuthority(t)
	disk := tempDisk(t)
	if err := Save(disk, Dir, folderOf(t, ours, "n1", time.Hour)); err != nil {
		t.Fatal(err)
	}
	n1, err := Open(disk, Dir)
	if err != nil {
		t.Fatal(err)
	}
	// An authority of somebody else's that says it is of our cluster.
	impostor, err := NewAuthority(ours.Cluster())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cert []byte
		ok   bool
	}{
		{"another node of the cluster", folderOf(t, ours, "n2", time.Hour).Certificate, true},
		{"a node of another cluster", folderOf(t, theirs, "n2", time.Hour).Certificate, false},
		{"signed by an authority that took our cluster's name", folderOf(t, impostor, "n2", time.Hour).Certificate, false},
		{"expired", folderOf(t, ours, "n2", -time.Minute).Certificate, false},
		{"the authority itself", ours.Certificate(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, err := parseCert(tt.cert)
			if err != nil {
				t.Fatal(err)
			}
			node, err := n1.Verify([]*x509.Certificate{cert, ours.cert})
			if (err == nil) != tt.ok {
				t.Errorf("Verify = %+v, %v; want ok %t", node, err, tt.ok)
			}
			_, _, err = VerifyDigest([]*x509.Certificate{cert, ours.cert, theirs.cert, impostor.cert}, ours.Digest())
			if (err == nil) != tt.ok {
				t.Errorf("VerifyDigest = %v; want ok %t", err, tt.ok)
			}
		})
	}
	if _, err := n1.Verify(nil); err == nil {
		t.Error("no certificate is believed")
	}
	n2, err := parseCert(folderOf(t, ours, "n2", time.Hour).Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyDigest([]*x509.Certificate{n2, theirs.cert}, ours.Digest()); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("a chain without the authority = %v; want %v", err, ErrWrongAuthority)
	}
}

// A renewed certificate is used without a restart; one that cannot be used is not.
func TestRenewedCertificateIsUsed(t *testing.T) {
	a, disk := newTestAuthority(t), tempDisk(t)
	folder := folderOf(t, a, "n1", time.Hour)
	if err := Save(disk, Dir, folder); err != nil {
		t.Fatal(err)
	}
	c, err := Open(disk, Dir)
	if err != nil {
		t.Fatal(err)
	}
	first := c.Certificate()
	from, until := c.Validity()
	if half := from.Add(until.Sub(from) / 2); !c.RenewAt().Equal(half) {
		t.Errorf("RenewAt = %s; want %s", c.RenewAt(), half)
	}
	renewed := mustSign(t, a, c.Key(), "n1", 1, 2*time.Hour)
	if err := SaveCertificate(disk, Dir, renewed); err != nil {
		t.Fatal(err)
	}
	if got := c.Certificate(); bytes.Equal(got.Certificate[0], first.Certificate[0]) {
		t.Error("the certificate was renewed, and the old one is used")
	}
	stranger, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"for another key":        mustSign(t, a, stranger, "n1", 1, time.Hour),
		"for another node":       mustSign(t, a, c.Key(), "n2", 1, time.Hour),
		"for another generation": mustSign(t, a, c.Key(), "n1", 2, time.Hour),
		"damaged":                []byte("x"),
	} {
		if err := SaveCertificate(disk, Dir, bad); err != nil {
			t.Fatal(err)
		}
		want, err := parseCert(renewed)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Certificate(); !bytes.Equal(got.Leaf.Raw, want.Raw) {
			t.Errorf("a certificate %s is used", name)
		}
		if _, err := Open(disk, Dir); err == nil {
			t.Errorf("a folder with a certificate %s was opened", name)
		}
	}
}

func TestFolderThatIsDamaged(t *testing.T) {
	a := newTestAuthority(t)
	for _, tt := range []struct {
		name   string
		damage func(disk vfs.FS) error
		none   bool // as good as no identity at all
	}{
		{"without its cluster", func(d vfs.FS) error { return d.Remove(Dir + "/" + clusterFile) }, true},
		{"without its key", func(d vfs.FS) error { return d.Remove(Dir + "/" + KeyFile) }, false},
		{"without its certificate", func(d vfs.FS) error { return d.Remove(Dir + "/" + CertFile) }, false},
		{"without its authority", func(d vfs.FS) error { return d.Remove(Dir + "/" + CAFile) }, false},
		{"of a later release", func(d vfs.FS) error {
			return vfs.ReplaceFile(d, Dir+"/"+clusterFile, []byte(`{"version":2}`))
		}, false},
		{"with another key", func(d vfs.FS) error {
			return vfs.ReplaceFile(d, Dir+"/"+KeyFile, []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
		}, false},
		{"that is too long", func(d vfs.FS) error {
			return vfs.ReplaceFile(d, Dir+"/"+CAFile, make([]byte, maxFile+1))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := tempDisk(t)
			if err := Save(disk, Dir, folderOf(t, a, "n1", time.Hour)); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(disk); err != nil {
				t.Fatal(err)
			}
			_, err := Open(disk, Dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) != tt.none {
				t.Errorf("Open = %v; want an error that says it is not there: %t", err, tt.none)
			}
		})
	}
}

// The key's file is its owner's alone.
func TestKeyFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if err := Save(disk, Dir, folderOf(t, newTestAuthority(t), "n1", time.Hour)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "/" + Dir + "/" + KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key = %o; want 600", info.Mode().Perm())
	}
}

// Nothing secret prints (I4).
func TestSecretsDoNotPrint(t *testing.T) {
	a := newTestAuthority(t)
	folder := folderOf(t, a, "n1", time.Hour)
	token := NewToken(a.Digest())
	var out strings.Builder
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", folder.Key, folder.Key, folder.Key, folder.Key, folder.Key, folder.Key)
	fmt.Fprintf(&out, "%v %+v %#v %s %q\n", token, token, token, token, token)
	fmt.Fprintf(&out, "%v %+v %#v %s\n", token.Secret, token.Secret, token.Secret, token.Secret)
	fmt.Fprintf(&out, "%v %+v %#v %s\n", a, a, a, a)
	for _, v := range []any{folder.Key, token, folder} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	key, err := folder.Key.Encode()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key)
	raw, err := folder.Key.private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := a.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"token":     token.Secret.Reveal(),
		"raw":       string(token.Secret[:]),
		"numbers":   strings.Trim(fmt.Sprint([16]byte(token.Secret)), "[]"),
		"hex":       fmt.Sprintf("%x", token.Secret[:]),
		"key":       string(block.Bytes),
		"number":    new(big.Int).SetBytes(raw).String(),
		"authority": new(big.Int).SetBytes(authority).String(),
	} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s was printed", name)
		}
	}
}

// FuzzParseAuthority reads what an etcd that is not ours may hold: what is taken signs, and nothing of it is shown.
func FuzzParseAuthority(f *testing.F) {
	a, err := NewAuthority(NewClusterID())
	if err != nil {
		f.Fatal(err)
	}
	data, err := a.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAuthority(data)
		if err != nil {
			return
		}
		if again, err := a.Encode(); err != nil || a.Cluster() == "" {
			t.Errorf("accepted %s, which reads back as %q, %v", a, again, err)
		}
	})
}
