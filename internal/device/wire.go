package device

import "unsafe"

// The part of the FUSE protocol (include/uapi/linux/fuse.h) that one file
// needs. Numbers are in the byte order of the machine, as the kernel's are.

const (
	protoMajor = 7
	protoMinor = 38 // the first with parallel direct writes; what a newer kernel offers beyond it is not used

	rootNode = 1 // the folder that is mounted
	fileNode = 2 // the one file in it
)

type opcode uint32

const (
	opLookup      opcode = 1
	opForget      opcode = 2
	opGetattr     opcode = 3
	opSetattr     opcode = 4
	opOpen        opcode = 14
	opRead        opcode = 15
	opWrite       opcode = 16
	opStatfs      opcode = 17
	opRelease     opcode = 18
	opFsync       opcode = 20
	opFlush       opcode = 25
	opInit        opcode = 26
	opOpendir     opcode = 27
	opReaddir     opcode = 28
	opReleasedir  opcode = 29
	opAccess      opcode = 34
	opInterrupt   opcode = 36
	opDestroy     opcode = 38
	opBatchForget opcode = 42
	opFallocate   opcode = 43
)

// Flags of INIT.
const (
	initAsyncRead = 1 << 0
	initBigWrites = 1 << 5
	initAsyncDIO  = 1 << 15
	initMaxPages  = 1 << 22
)

// Flags of the answer to OPEN.
const (
	openDirectIO             = 1 << 0
	openParallelDirectWrites = 1 << 6
)

type inHeader struct {
	Len      uint32
	Opcode   opcode
	Unique   uint64
	NodeID   uint64
	UID      uint32
	GID      uint32
	PID      uint32
	TotalExt uint16
	_        uint16
}

type outHeader struct {
	Len    uint32
	Error  int32
	Unique uint64
}

type initIn struct {
	Major        uint32
	Minor        uint32
	MaxReadahead uint32
	Flags        uint32
}

type initOut struct {
	Major               uint32
	Minor               uint32
	MaxReadahead        uint32
	Flags               uint32
	MaxBackground       uint16
	CongestionThreshold uint16
	MaxWrite            uint32
	TimeGran            uint32
	MaxPages            uint16
	MapAlignment        uint16
	Flags2              uint32
	_                   [7]uint32
}

type attr struct {
	Ino       uint64
	Size      uint64
	Blocks    uint64
	Atime     uint64
	Mtime     uint64
	Ctime     uint64
	AtimeNsec uint32
	MtimeNsec uint32
	CtimeNsec uint32
	Mode      uint32
	Nlink     uint32
	UID       uint32
	GID       uint32
	Rdev      uint32
	Blksize   uint32
	Flags     uint32
}

type entryOut struct {
	NodeID         uint64
	Generation     uint64
	EntryValid     uint64
	AttrValid      uint64
	EntryValidNsec uint32
	AttrValidNsec  uint32
	Attr           attr
}

type attrOut struct {
	AttrValid     uint64
	AttrValidNsec uint32
	_             uint32
	Attr          attr
}

type openOut struct {
	Fh        uint64
	OpenFlags uint32
	_         uint32
}

// readIn and writeIn have the same shape.
type ioIn struct {
	Fh        uint64
	Offset    uint64
	Size      uint32
	Flags     uint32
	LockOwner uint64
	OpenFlags uint32
	_         uint32
}

type writeOut struct {
	Size uint32
	_    uint32
}

type fallocateIn struct {
	Fh     uint64
	Offset uint64
	Length uint64
	Mode   uint32
	_      uint32
}

type statfsOut struct {
	Blocks  uint64
	Bfree   uint64
	Bavail  uint64
	Files   uint64
	Ffree   uint64
	Bsize   uint32
	NameLen uint32
	Frsize  uint32
	_       uint32
	_       [6]uint32
}

const (
	inHeaderSize  = int(unsafe.Sizeof(inHeader{}))
	outHeaderSize = int(unsafe.Sizeof(outHeader{}))
	ioInSize      = int(unsafe.Sizeof(ioIn{}))
)

// view reads a T where b begins; b must be long enough and 8-byte aligned,
// which every request in a worker's buffer is.
func view[T any](b []byte) *T {
	_ = b[unsafe.Sizeof(*new(T))-1]
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// bytesOf shows the memory of v.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
