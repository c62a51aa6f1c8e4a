package wire

import "encoding/binary"

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// reseal makes a frame's header fit what follows it.
func reseal(frame []byte) {
	if len(frame) < headerSize {
		return
	}
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-headerSize))
	frame[5], frame[6], frame[7] = 0, 0, 0
	binary.LittleEndian.PutUint32(frame[8:], checksum(frame))
}
