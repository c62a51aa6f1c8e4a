package audit

// World is what one Docker Engine runs, as far as the audit asks.
type World struct {
	Swarm      bool // the engine is part of a swarm
	Manager    bool // and one of its managers, so that Services and Nodes are known
	Nodes      []Node
	Services   []Service
	Containers []Container
	Volumes    []Volume
	Gaps       []string // what could not be looked at, a sentence each
}

// Node is a node of the swarm.
type Node struct {
	ID, Hostname string
	Labels       map[string]string
}

// Service is a Swarm service as it was declared.
type Service struct {
	Name, Image string
	Args        []string
	Global      bool // one task per node
	Replicas    uint64
	Constraints []string // as declared: "node.hostname == n1"
	Mounts      []Mount
}

// Container is a container that runs, whoever started it.
type Container struct {
	ID, Name, Image string
	Service         string   // the Swarm service it is a task of; empty: none
	Compose         string   // the Compose service it belongs to; empty: none
	Args            []string // entrypoint and command
	AutoRemove      bool     // removed when it stops
	Mounts          []Mount
	Tmpfs           []string // paths in memory
	Changed         []Change // the writable layer
	WrittenBytes    int64    // its size
}

// Mount is something mounted into a container.
type Mount struct {
	Kind     MountKind
	Name     string            // of a volume; empty with a service: a new one for each task
	Source   string            // on the host
	Target   string            // in the container
	Driver   string            // of a volume; empty: local
	Options  map[string]string // of a volume that a service declares
	ReadOnly bool
}

// MountKind says where a mount comes from.
type MountKind string

// The kinds of mount that hold state. Others are volatile by declaration.
const (
	BindMount   MountKind = "bind"
	VolumeMount MountKind = "volume"
)

// Change is a path that the container's writable layer adds or changes.
type Change struct {
	Path    string
	Deleted bool
}

// Volume is a Docker volume.
type Volume struct {
	Name, Driver string
	Anonymous    bool
	Options      map[string]string
}
