package wire

import (
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Versions that this release speaks. What follows the first message each way is of
// the highest version that both sides know.
const (
	MinVersion = 1
	MaxVersion = 1
)

// Limits of what a message may say.
const (
	MaxRecords = 1024              // of a batch
	MaxData    = ballast.ChunkSize // bytes of a batch, and of a chunk
	MaxReigns  = 2048              // of a lineage
	MaxName    = 255               // bytes of a cluster's, a volume's, a node's name
	MaxText    = 1024              // bytes of a sentence; a longer one is cut
	MaxStaged  = 4096              // chunks of one [Staged]
	MaxSize    = int64(1) << 50    // bytes of a volume
	maxChunk   = MaxSize / ballast.ChunkSize
)

// Kind says which message a frame holds.
type Kind uint8

// The kinds of messages. A number is never used for anything else.
const (
	KindHello      Kind = 1
	KindWelcome    Kind = 2
	KindRefuse     Kind = 3
	KindFollow     Kind = 4
	KindAppend     Kind = 5
	KindFlush      Kind = 6
	KindCommit     Kind = 7
	KindAck        Kind = 8
	KindResize     Kind = 9
	KindCompare    Kind = 10
	KindStageBegin Kind = 11
	KindStaged     Kind = 12
	KindChunk      Kind = 13
	KindStageEnd   Kind = 14
	KindStageAck   Kind = 15
	KindPing       Kind = 16
	KindBye        Kind = 17
)

// Message is one of the types below, by pointer.
type Message interface {
	Kind() Kind
	encode(*encoder)
	decode(*decoder)
}

// Hello is the leader's first message.
type Hello struct {
	Min, Max uint16 // versions that it speaks
	Cluster  string
	Volume   ballast.VolumeID
	Node     ballast.NodeID // the leader
	Epoch    ballast.Epoch
	Size     int64       // of the volume in bytes
	Last     ballast.LSN // of the leader's log
	Lineage  volume.Lineage
}

// Welcome is the follower's answer: where its copy stands.
type Welcome struct {
	Version  uint16 // what both speak from now on
	Node     ballast.NodeID
	Size     int64
	Epoch    ballast.Epoch // that it has stored; not above the leader's
	Last     ballast.LSN
	Durable  ballast.LSN
	Applied  ballast.LSN
	Complete bool
	Lineage  volume.Lineage
}

// Refuse ends the connection, and says why: instead of a [Welcome], or later when the
// follower cannot go on.
type Refuse struct {
	Code  Code
	Epoch ballast.Epoch // of CodeEpoch: the one that is stored
	Text  string        // a sentence for a person
}

// Code says to a program why a stream is refused.
type Code uint16

// The codes.
const (
	CodeOther      Code = 0
	CodeVersion    Code = 1 // no version that both know
	CodeCluster    Code = 2 // of another cluster
	CodeEpoch      Code = 3 // a higher epoch is stored: the leader is fenced off (R4)
	CodeNotAllowed Code = 4 // the record does not say that the leader leads, or that a copy is wanted
	CodeBusy       Code = 5 // something else has the copy now: ask again
	CodeNoRoom     Code = 6 // the disk, or the log on it, is full
	CodeFailed     Code = 7 // the disk failed, or the copy is damaged
	CodeProtocol   Code = 8 // what was said makes no sense
	CodeDiverged   Code = 9 // the copy's image has what the leader never had: it needs chunks
)

// Follow tells a copy whom it follows from now on, and that its records behind Cut are
// void. It is answered with an [Ack] once that is durable (R4).
type Follow struct {
	Epoch   ballast.Epoch
	Cut     ballast.LSN
	Lineage volume.Lineage
}

// Append is a piece of the log.
type Append struct{ Batch volume.Batch }

// Flush wants an [Ack] once everything up to LSN is durable.
type Flush struct{ LSN ballast.LSN }

// Commit says what may be folded (R5).
type Commit struct{ LSN ballast.LSN }

// Ack says what a copy has.
type Ack struct{ Received, Durable ballast.LSN }

// Resize says that the volume has grown.
type Resize struct{ Size int64 }

// Compare asks which chunks the copy changed after Since by itself. The answer is
// [Staged], each with LSN 0.
type Compare struct{ Since ballast.LSN }

// StageBegin says to which point the copy is about to be brought by chunks. The answer
// is [Staged]: what an earlier attempt left that still counts.
type StageBegin struct {
	LSN     ballast.LSN
	Epoch   ballast.Epoch
	Size    int64
	Since   ballast.LSN // chunks that changed after it come
	Chunks  uint32      // how many, at most: for who asks how far it is
	Lineage volume.Lineage
}

// StagedChunk is a chunk that a copy has, as of an LSN.
type StagedChunk struct {
	Chunk uint32
	LSN   ballast.LSN
}

// Staged is a part of a list of chunks.
type Staged struct {
	More   bool // another part follows
	Chunks []StagedChunk
}

// Chunk is a chunk's content; no data stands for zeros.
type Chunk struct {
	Chunk uint32
	LSN   ballast.LSN // of its last change
	Data  []byte
}

// StageEnd says that all chunks have been sent. It is answered with an [Ack] once the
// copy is at the new point.
type StageEnd struct{}

// StageAck says how many chunks were taken since [StageBegin].
type StageAck struct{ Chunks uint64 }

// Ping says that the sender is there, and when it will speak again at the latest.
type Ping struct{ NextMillis uint32 }

// Bye ends a connection in good order.
type Bye struct{ Text string }

// Kind implements Message, as do all that follow.
func (*Hello) Kind() Kind { return KindHello }

// Kind implements Message.
func (*Welcome) Kind() Kind { return KindWelcome }

// Kind implements Message.
func (*Refuse) Kind() Kind { return KindRefuse }

// Kind implements Message.
func (*Follow) Kind() Kind { return KindFollow }

// Kind implements Message.
func (*Append) Kind() Kind { return KindAppend }

// Kind implements Message.
func (*Flush) Kind() Kind { return KindFlush }

// Kind implements Message.
func (*Commit) Kind() Kind { return KindCommit }

// Kind implements Message.
func (*Ack) Kind() Kind { return KindAck }

// Kind implements Message.
func (*Resize) Kind() Kind { return KindResize }

// Kind implements Message.
func (*Compare) Kind() Kind { return KindCompare }

// Kind implements Message.
func (*StageBegin) Kind() Kind { return KindStageBegin }

// Kind implements Message.
func (*Staged) Kind() Kind { return KindStaged }

// Kind implements Message.
func (*Chunk) Kind() Kind { return KindChunk }

// Kind implements Message.
func (*StageEnd) Kind() Kind { return KindStageEnd }

// Kind implements Message.
func (*StageAck) Kind() Kind { return KindStageAck }

// Kind implements Message.
func (*Ping) Kind() Kind { return KindPing }

// Kind implements Message.
func (*Bye) Kind() Kind { return KindBye }

func (c Code) String() string {
	switch c {
	case CodeOther:
		return "refused"
	case CodeVersion:
		return "no common version"
	case CodeCluster:
		return "another cluster"
	case CodeEpoch:
		return "fenced off"
	case CodeNotAllowed:
		return "not allowed"
	case CodeBusy:
		return "busy"
	case CodeNoRoom:
		return "no room"
	case CodeFailed:
		return "failed"
	case CodeProtocol:
		return "protocol error"
	case CodeDiverged:
		return "diverged"
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// Error is what the other side said when it refused.
func (m *Refuse) Error() string {
	if m.Text == "" {
		return m.Code.String()
	}
	return m.Text
}

// Negotiate returns the version that a side which speaks min to max has in common with
// this release, or false.
func Negotiate(low, high uint16) (uint16, bool) {
	v := min(high, MaxVersion)
	return v, v >= max(low, MinVersion)
}
