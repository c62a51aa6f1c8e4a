package identity

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Dir is the folder of a node's identity, below its data folder.
const Dir = "identity"

// The files in it. Names that other programs read do not change.
const (
	CAFile      = "ca.pem"
	CertFile    = "node.pem"
	KeyFile     = "node.key"
	clusterFile = "cluster.json"

	maxFile        = 64 << 10 // bytes
	clusterVersion = 1
)

// Cluster is what a node must know of its cluster before it can ask anybody.
type Cluster struct {
	Version    int            `json:"version"`
	ID         string         `json:"id"`
	Node       ballast.NodeID `json:"node"`
	Generation uint64         `json:"generation"`
	Listen     string         `json:"listen"`          // where this node listens, host:port
	Address    string         `json:"address"`         // where others reach it, host:port
	Joined     bool           `json:"joined"`          // it came to a cluster that there was, and never begins records of its own
	Peers      []Address      `json:"peers,omitempty"` // other nodes, as last seen: whom to ask first
}

// Address is where a node is reached, and which of its certificates counts.
type Address struct {
	Node       ballast.NodeID `json:"node"`
	Address    string         `json:"address"` // host:port
	Generation uint64         `json:"generation"`
}

// Folder is the content of a node's identity folder.
type Folder struct {
	Cluster     Cluster
	CA          []byte // PEM
	Certificate []byte // PEM
	Key         Key
}

// Load reads the folder dir. Where there is no identity, or one whose writing was
// broken off, the error is [fs.ErrNotExist].
func Load(fsys vfs.FS, dir string) (Folder, error) {
	var f Folder
	stored, err := vfs.ReadFile(fsys, dir+"/"+clusterFile, maxFile)
	if err != nil {
		return f, fmt.Errorf("load identity: %w", err)
	}
	if err := json.Unmarshal(stored, &f.Cluster); err != nil {
		return f, fmt.Errorf("load identity: %s is damaged: %w", clusterFile, err)
	}
	if v := f.Cluster.Version; v < 1 || v > clusterVersion {
		return f, fmt.Errorf("load identity: %s has format %d, this release reads up to %d: upgrade this node", clusterFile, v, clusterVersion)
	}
	if err := errors.Join(read(fsys, dir, CAFile, &f.CA), read(fsys, dir, CertFile, &f.Certificate)); err != nil {
		return f, err
	}
	var key []byte
	if err := read(fsys, dir, KeyFile, &key); err != nil {
		return f, err
	}
	if f.Key, err = ParseKey(key); err != nil {
		return f, fmt.Errorf("load identity: %w", err)
	}
	return f, nil
}

// read reads a file that must be there: without it the identity is damaged, which
// is not the same as having none.
func read(fsys vfs.FS, dir, name string, into *[]byte) error {
	data, err := vfs.ReadFile(fsys, dir+"/"+name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("load identity: %s is missing; put it back, or let the node join again", name)
	}
	if err != nil {
		return fmt.Errorf("load identity: %w", err)
	}
	*into = data
	return nil
}

// Save writes the folder dir. The cluster file comes last: until it is there, what
// else is there counts for nothing; so Save is for a folder without one (I5), and
// [SaveCluster] and [SaveCertificate] change what is there.
func Save(fsys vfs.FS, dir string, f Folder) error {
	key, err := f.Key.Encode()
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := fsys.Mkdir(dir); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{KeyFile, key}, {CAFile, f.CA}, {CertFile, f.Certificate}} {
		if err := vfs.ReplaceFile(fsys, dir+"/"+file.name, file.data); err != nil {
			return fmt.Errorf("save identity: %w", err)
		}
	}
	if err := fsys.SyncDir("."); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return SaveCluster(fsys, dir, f.Cluster)
}

// SaveCluster replaces what the node knows of its cluster.
func SaveCluster(fsys vfs.FS, dir string, c Cluster) error {
	c.Version = clusterVersion
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := vfs.ReplaceFile(fsys, dir+"/"+clusterFile, append(data, '\n')); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return nil
}

// SaveCertificate replaces a certificate by a later one for the same key.
func SaveCertificate(fsys vfs.FS, dir string, cert []byte) error {
	if err := vfs.ReplaceFile(fsys, dir+"/"+CertFile, cert); err != nil {
		return fmt.Errorf("save renewed certificate: %w", err)
	}
	return nil
}

// Forget takes the identity away: first the file without which the others count
// for nothing.
func Forget(fsys vfs.FS, dir string) error {
	for _, name := range []string{clusterFile, KeyFile, CertFile, CAFile} {
		if err := fsys.Remove(dir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget identity: %w", err)
		}
		if name != clusterFile {
			continue
		}
		if err := fsys.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget identity: %w", err)
		}
	}
	return nil
}

// Check returns an error when what is in f does not belong together: the certificate is
// for that key and that node, and of that authority.
func (f Folder) Check() error {
	c, err := newCredentials(f)
	if err != nil {
		return err
	}
	_, err = c.Verify([]*x509.Certificate{c.own.Leaf})
	return err
}
