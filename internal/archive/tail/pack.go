package tail

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packers are made once: they are dear, and safe for concurrent use. The fastest level
// takes a third of the default's time for nearly its size, and what it runs beside is a database.
var packers = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(frameBytes), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants, and tested
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // the options are constants, and tested
	}
	return enc, dec
})

func compress(plain []byte) []byte {
	enc, _ := packers()
	return enc.EncodeAll(plain, nil)
}

// pack returns p compressed, or as it is where that is not smaller. What it returns is only
// valid until p changes.
func pack(p []byte) (body []byte, plain bool) {
	if body = compress(p); len(body) < len(p) {
		return body, false
	}
	return p, true
}

// unpack is the reverse of compress. It refuses what has more than most bytes.
func unpack(body []byte, most int) ([]byte, error) {
	_, dec := packers()
	plain, err := dec.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(plain) > most {
		return nil, fmt.Errorf("decompress: %d bytes are more than %d", len(plain), most)
	}
	return plain, nil
}
