package repository

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Limits of what is read (A5), in bytes.
const (
	maxBlob     = 128 << 20 // a blob's content: a folder of a million files is less
	maxUnpacked = 128 << 20 // an index; half a million blobs are less
	maxSmall    = 1 << 20   // config, a key, a lock
	maxSnapshot = 16 << 20
)

// zstdWindow is small: blobs are, too, and an encoder keeps as much in memory.
const zstdWindow = 512 << 10

// codec compresses and decompresses. Safe for concurrent use; as many calls as
// there are processors work at once, the others wait.
type codec struct {
	enc      *zstd.Encoder
	blobs    *zstd.Decoder
	unpacked *zstd.Decoder
}

func newCodec() (*codec, error) {
	n := min(runtime.GOMAXPROCS(0), 4)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(n), zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdWindow))
	if err != nil {
		return nil, err
	}
	blobs, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxBlob), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	unpacked, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, err
	}
	return &codec{enc: enc, blobs: blobs, unpacked: unpacked}, nil
}

// compress appends data, compressed, to dst.
func (c *codec) compress(dst, data []byte) []byte { return c.enc.EncodeAll(data, dst) }

// decompress returns a blob's content, which must be of the size that the index gives.
func (c *codec) decompress(data []byte, size uint32) ([]byte, error) {
	if size > maxBlob {
		return nil, fmt.Errorf("its content of %d bytes is more than is allowed", size)
	}
	plain, err := c.blobs.DecodeAll(data, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if uint32(len(plain)) != size {
		return nil, fmt.Errorf("it decompresses to %d bytes; the index says %d", len(plain), size)
	}
	return plain, nil
}

// unpackedV2 is the first byte of a compressed file: no JSON begins so.
const unpackedV2 = 2

// packFile returns JSON as it is sealed in a file of its own.
func (c *codec) packFile(json []byte) []byte { return c.compress([]byte{unpackedV2}, json) }

// unpackFile returns the JSON in a file: compressed, or plain as in version 1.
func (c *codec) unpackFile(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	switch data[0] {
	case '{', '[':
		return data, nil
	case unpackedV2:
		json, err := c.unpacked.DecodeAll(data[1:], nil)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return json, nil
	}
	return nil, fmt.Errorf("it begins with %#02x, which is of no known version", data[0])
}
