package ballast

import "fmt"

// BlockSize is the size in bytes of a block: the unit of every read, write,
// record and discard, and the sector size that the device shows.
const BlockSize = 4096

// ChunkSize is the size in bytes of a chunk: the unit of fetching, hashing and
// dirty tracking. A volume's size is a multiple of it.
const ChunkSize = 1 << 20

// VolumeID names a volume for ever, on every node and in the archive. It is made
// by Ballast, never by a user: 26 lower-case letters and digits.
type VolumeID string

// Epoch is the fencing token of a volume: it grows by one at every attach, and
// nothing that carries a lower one is accepted any more. The first attach has 1.
type Epoch uint64

// LSN is a log sequence number. The records of a volume are numbered from 1
// without a gap; 0 stands before the first.
type LSN uint64

// Block is the number of a block within a volume, from 0.
type Block uint64

// NodeID names a node of the cluster.
type NodeID string

// Class says what kind of state a volume holds, and so how it is restarted,
// moved, re-seeded and archived.
type Class string

// The classes of state.
const (
	Scratch   Class = "scratch"   // kept nowhere, a fresh one each time
	Cache     Class = "cache"     // kept on its node only
	Clustered Class = "clustered" // the application replicates it
	Primary   Class = "primary"   // the only copy: follow it
)

// Classes returns every class that can be asked for, in the order of their care.
func Classes() []Class { return []Class{Scratch, Cache, Clustered, Primary} }

// Filesystem is what a volume is formatted with.
type Filesystem string

// The filesystems that a volume can be formatted with.
const (
	Ext4 Filesystem = "ext4"
	XFS  Filesystem = "xfs"
)

// Filesystems returns every filesystem that can be asked for, the default first.
func Filesystems() []Filesystem { return []Filesystem{Ext4, XFS} }

func (e Epoch) String() string { return fmt.Sprintf("e%d", uint64(e)) }
