package delta

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ballast-io/ballast"
)

const testID = "abcdefghijklmnopqrstuvwxyz"

func blocks(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n*ballast.BlockSize) }

func sample() *Delta {
	return &Delta{Volume: testID, Epoch: 3, After: 40, Groups: []Group{
		{Last: 42, Time: time.Unix(1700000000, 5).UTC(), Size: 1 << 20, Runs: []Run{{7, 2, false}, {9, 200, true}}, Data: blocks(2, 1)},
		{Last: 43, Size: 1 << 20},
		{Last: 50, Time: time.Unix(1700000001, 0).UTC(), Size: 2 << 20, Runs: []Run{{0, 1, false}, {511, 1, false}}, Data: blocks(2, 3)},
	}}
}

func encoded(t testing.TB, d *Delta) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodeThenDecode(t *testing.T) {
	d := sample()
	b := encoded(t, d)
	if int64(len(b)) != d.EncodedSize() {
		t.Errorf("EncodedSize = %d; want %d", d.EncodedSize(), len(b))
	}
	more := bytes.NewReader(append(bytes.Clone(b), "next"...))
	got, err := Decode(iotest.HalfReader(more))
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("Decode = %+v, %v; want %+v", got, err, d)
	}
	if rest, _ := io.ReadAll(more); string(rest) != "next" { // of a bytes.Reader
		t.Errorf("Decode left %q; want what is not its", rest)
	}
}

// The data come in several pieces.
func TestDecodeLarge(t *testing.T) {
	d := sample()
	d.Groups[0] = Group{Last: 42, Size: 1 << 30, Runs: []Run{{0, 1300, false}}, Data: blocks(1300, 0)}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range d.Groups[0].Data {
		d.Groups[0].Data[i] = byte(rng.Uint32())
	}
	got, err := Decode(bytes.NewReader(encoded(t, d)))
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("Decode of %d bytes: %v; want what was encoded", d.DataBytes(), err)
	}
}

// Whatever single bit is flipped, and wherever the stream ends, Decode says so.
func TestDecodeDamaged(t *testing.T) {
	d := sample()
	d.Groups[2].Runs, d.Groups[2].Data = nil, nil
	b := encoded(t, d)
	for i := range b {
		if _, err := Decode(bytes.NewReader(b[:i])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("Decode of %d of %d bytes = %v; want %v", i, len(b), err, io.ErrUnexpectedEOF)
		}
		b[i] ^= 1 << (i % 8)
		if _, err := Decode(bytes.NewReader(b)); err == nil {
			t.Fatalf("Decode with a flipped bit in byte %d = nil; want an error", i)
		}
		b[i] ^= 1 << (i % 8)
	}
}

func TestValidate(t *testing.T) {
	manyRuns := make([]Run, MaxRuns)
	for i := range manyRuns {
		manyRuns[i] = Run{ballast.Block(i), 1, true}
	}
	for _, tt := range []struct {
		name   string
		change func(*Delta)
		ok     bool
	}{
		{"whole", func(*Delta) {}, true},
		{"no groups", func(d *Delta) { d.Groups = nil }, false},
		{"too many groups", func(d *Delta) { d.Groups = make([]Group, MaxGroups+1) }, false},
		{"no id", func(d *Delta) { d.Volume = "" }, false},
		{"an id that is a path", func(d *Delta) { d.Volume = "../x" }, false},
		{"no epoch", func(d *Delta) { d.Epoch = 0 }, false},
		{"a first group without a record", func(d *Delta) { d.After = 42 }, false},
		{"groups out of order", func(d *Delta) { d.Groups[1].Last = 42 }, false},
		{"no size", func(d *Delta) { d.Groups[1].Size = 0 }, false},
		{"half a block", func(d *Delta) { d.Groups[1].Size++ }, false},
		{"larger than a volume", func(d *Delta) { d.Groups[1].Size = ballast.MaxVolumeSize + 4096 }, false},
		{"an empty run", func(d *Delta) { d.Groups[0].Runs[1].Count = 0 }, false},
		{"runs that overlap", func(d *Delta) { d.Groups[0].Runs[1].First-- }, false},
		{"a run behind the end", func(d *Delta) { d.Groups[0].Runs[1].Count = 248 }, false},
		{"a run to the end", func(d *Delta) { d.Groups[0].Runs[1].Count = 247 }, true},
		{"a run that overflows", func(d *Delta) { d.Groups[0].Runs[1].Count = 1<<64 - 5 }, false},
		{"a block too little", func(d *Delta) { d.Groups[0].Data = blocks(1, 1) }, false},
		{"half a block too much", func(d *Delta) { d.Groups[0].Data = append(d.Groups[0].Data, 1) }, false},
		{"a time before 1970", func(d *Delta) { d.Groups[0].Time = time.Unix(-1, 0) }, false},
		{"a time far away", func(d *Delta) { d.Groups[0].Time = time.Unix(1<<40, 0) }, false},
		{"as many runs as there can be", func(d *Delta) {
			d.Groups = d.Groups[:1]
			d.Groups[0].Runs, d.Groups[0].Data, d.Groups[0].Size = manyRuns, nil, 1<<30
		}, true},
		{"too many runs together", func(d *Delta) { d.Groups[1].Runs, d.Groups[1].Size = manyRuns, 1<<30 }, false},
		{"too much data", func(d *Delta) {
			d.Groups[1] = Group{Last: 43, Size: 1 << 30, Runs: []Run{{0, MaxData / 4096, false}}, Data: make([]byte, MaxData)}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := sample()
			tt.change(d)
			err := d.Validate()
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ballast.ErrInvalid) {
				t.Errorf("Validate = %v; want ok = %t", err, tt.ok)
			}
			if encErr := d.Encode(io.Discard); (encErr == nil) != tt.ok {
				t.Errorf("Encode = %v; want ok = %t", encErr, tt.ok)
			}
		})
	}
}

// A writer that fails at any byte is reported.
func TestEncodeFails(t *testing.T) {
	d := sample()
	for n := range d.EncodedSize() {
		if n%97 != 0 {
			continue
		}
		if err := d.Encode(&fullAfter{n}); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("Encode to a writer that takes %d bytes = %v; want %v", n, err, io.ErrShortWrite)
		}
	}
}

type fullAfter struct{ left int64 }

func (w *fullAfter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, io.ErrShortWrite
	}
	w.left -= int64(len(p))
	return len(p), nil
}

func FuzzDecode(f *testing.F) {
	small := sample()
	small.Groups = small.Groups[1:2]
	f.Add(encoded(f, small), true)
	f.Add(encoded(f, sample()), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix {
			fixChecksums(b)
		}
		d, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		again := encoded(t, d) // fails when d is not valid
		d2, err := Decode(bytes.NewReader(again))
		if err != nil || !reflect.DeepEqual(d, d2) {
			t.Errorf("Decode accepted what it refuses, or reads otherwise, when encoded again: %v", err)
		}
	})
}

// fixChecksums lets the fuzzer past the checksums of the head and of the first group.
func fixChecksums(b []byte) {
	const second = headSize + crcSize
	if len(b) >= second {
		copy(b[headSize:], withCRC(bytes.Clone(b[:headSize]))[headSize:])
	}
	if end := second + groupSize; len(b) >= end+crcSize {
		copy(b[end:], withCRC(bytes.Clone(b[second:end]))[groupSize:])
	}
}
