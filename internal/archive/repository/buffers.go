package repository

// packTarget is the size at which a pack is full, in bytes.
const packTarget = 16 << 20

// maxPackBlobs are in a pack, so that its header stays far below its limit.
const maxPackBlobs = 8192

// maxUploads are under way at once, of a repository: with one pack that is being
// filled they are what archiving keeps in memory.
const maxUploads = 2

// buffers are used again and again: packs are too large to leave to the garbage
// collector.
type buffers struct {
	packs, blobs chan []byte
	uploads      chan struct{} // a place for each upload under way
}

func newBuffers() *buffers {
	return &buffers{
		packs:   make(chan []byte, maxUploads+1),
		blobs:   make(chan []byte, 8),
		uploads: make(chan struct{}, maxUploads),
	}
}

// take returns an empty buffer, a new one of size bytes if there is none.
func take(from chan []byte, size int) []byte {
	select {
	case b := <-from:
		return b[:0]
	default:
		return make([]byte, 0, size)
	}
}

// give keeps a buffer for the next one, if it is worth it.
func give(to chan []byte, b []byte, most int) {
	if cap(b) > most {
		return
	}
	select {
	case to <- b:
	default:
	}
}
