package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/iotest"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

var update = flag.Bool("update", false, "write the golden bytes anew")

// examples has one of every message, and of every variant that is encoded differently.
func examples() map[string]Message {
	lineage := volume.Lineage{{Epoch: 3, From: 700}, {Epoch: 4, From: 801}}
	data := bytes.Repeat([]byte("ballast!"), ballast.BlockSize/8)
	return map[string]Message{
		"hello":       &Hello{Min: 1, Max: 2, Cluster: "c", Volume: "vol", Node: "n1", Epoch: 4, Size: 8 << 20, Last: 990, Lineage: lineage},
		"welcome":     &Welcome{Version: 1, Node: "n2", Size: 8 << 20, Epoch: 3, Last: 820, Durable: 810, Applied: 790, Complete: true, Lineage: lineage[:1]},
		"refuse":      &Refuse{Code: CodeEpoch, Epoch: 5, Text: "a later writer has the volume"},
		"follow":      &Follow{Epoch: 4, Cut: 800, Lineage: lineage},
		"append":      &Append{volume.Batch{Epoch: 4, First: 801, Records: []volume.Record{{Block: 7, Count: 1, CRC: 0xdecade}, {Discard: true, Block: 1, Count: 900}}, Data: data}},
		"flush":       &Flush{LSN: 802},
		"commit":      &Commit{LSN: 801},
		"ack":         &Ack{Received: 802, Durable: 801},
		"resize":      &Resize{Size: 9 << 20},
		"compare":     &Compare{Since: 799},
		"stage-begin": &StageBegin{LSN: 990, Epoch: 4, Size: 8 << 20, Since: 799, Chunks: 5, Lineage: lineage},
		"staged":      &Staged{More: true, Chunks: []StagedChunk{{Chunk: 3, LSN: 912}, {Chunk: 4}}},
		"chunk":       &Chunk{Chunk: 3, LSN: 970, Data: bytes.Repeat(data, ballast.ChunkSize/len(data))},
		"chunk-zeros": &Chunk{Chunk: 4, LSN: 971},
		"stage-end":   &StageEnd{},
		"stage-ack":   &StageAck{Chunks: 17},
		"ping":        &Ping{NextMillis: 500},
		"bye":         &Bye{Text: "the volume is detached"},
	}
}

// W1: what was written is what is read, whatever the pieces it arrives in.
func TestEveryMessageComesBack(t *testing.T) {
	for name, m := range examples() {
		t.Run(name, func(t *testing.T) {
			frame := Encode(nil, m)
			for _, in := range []io.Reader{bytes.NewReader(frame), iotest.OneByteReader(bytes.NewReader(frame)), iotest.DataErrReader(bytes.NewReader(frame))} {
				r := NewReader(in)
				got, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(m, got) {
					t.Fatalf("sent %+v\ngot  %+v", m, got)
				}
				if _, err := r.Next(); err != io.EOF { //nolint:errorlint // the very value
					t.Fatalf("after the last frame: %v; want EOF", err)
				}
			}
		})
	}
}

// W1: no flipped bit, and no end in the middle, goes unnoticed.
func TestNoDamageIsTakenForAMessage(t *testing.T) {
	for name, m := range examples() {
		t.Run(name, func(t *testing.T) {
			frame := Encode(nil, m)
			step := max(1, len(frame)/97)
			for i := 0; i < len(frame); i += step {
				bad := bytes.Clone(frame)
				bad[i] ^= 1 << (i % 8)
				if got, err := NewReader(bytes.NewReader(bad)).Next(); err == nil {
					t.Fatalf("with a flipped bit at byte %d: %v", i, got)
				}
				if got, err := NewReader(bytes.NewReader(frame[:i])).Next(); err == nil {
					t.Fatalf("cut after %d bytes: %v", i, got)
				}
			}
		})
	}
}

// The bytes of version 1 are what they were. -update writes those of a new message.
func TestGoldenBytes(t *testing.T) {
	for name, m := range examples() {
		t.Run(name, func(t *testing.T) {
			if name == "chunk" {
				return // a mebibyte; "append" shows how data follow
			}
			file := filepath.Join("testdata", "v1", name+".hex")
			text := hex.Dump(Encode(nil, m))
			if *update {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("bytes of %s:\n%s\ndiffer from %s", name, text, file)
			}
		})
	}
}

// W3: what a later release adds to its first message does not keep it from being read.
func TestALaterHelloIsRead(t *testing.T) {
	for _, name := range []string{"hello", "welcome", "refuse"} {
		m := examples()[name]
		later := append(Encode(nil, m), "of version 2"...)
		reseal(later)
		got, err := NewReader(bytes.NewReader(later)).Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(m, got) {
			t.Errorf("%s: sent %+v\ngot  %+v", name, m, got)
		}
	}
	later := append(Encode(nil, &Flush{LSN: 1}), 0)
	reseal(later)
	if m, err := NewReader(bytes.NewReader(later)).Next(); err == nil {
		t.Errorf("a longer flush was read: %v", m)
	}
}

func TestNegotiate(t *testing.T) {
	for _, tt := range []struct {
		low, high, want uint16
		ok              bool
	}{
		{1, 1, 1, true},
		{1, 2, 1, true}, // a release ahead
		{2, 3, 1, false},
	} {
		if got, ok := Negotiate(tt.low, tt.high); ok != tt.ok || ok && got != tt.want {
			t.Errorf("Negotiate(%d, %d) = %d, %t; want %d, %t", tt.low, tt.high, got, ok, tt.want, tt.ok)
		}
	}
}

// W2: a length that is not meant is refused before anything is waited for.
func TestHostileFrames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
	}{
		{"kind 0", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"kind 255", []byte{0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0}},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"a flush of 4 GiB", []byte{255, 255, 255, 255, byte(KindFlush), 0, 0, 0, 0, 0, 0, 0}},
		{"reserved bytes", []byte{8, 0, 0, 0, byte(KindFlush), 1, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := io.MultiReader(bytes.NewReader(tt.frame), iotest.ErrReader(io.ErrNoProgress))
			if m, err := NewReader(in).Next(); err == nil || err == io.ErrNoProgress { //nolint:errorlint // the very value
				t.Errorf("Next = %v, %v; want a refusal before reading on", m, err)
			}
		})
	}
}

// A message within a sealed frame is hostile all the same.
func TestMalformedMessages(t *testing.T) {
	batch := examples()["append"].(*Append).Batch
	change := func(f func(b *volume.Batch)) Message {
		b := batch
		b.Records = append([]volume.Record(nil), batch.Records...)
		f(&b)
		return &Append{b}
	}
	for name, m := range map[string]Message{
		"no epoch":            change(func(b *volume.Batch) { b.Epoch = 0 }),
		"no LSN":              change(func(b *volume.Batch) { b.First = 0 }),
		"no records":          change(func(b *volume.Batch) { b.Records, b.Data = nil, nil }),
		"data missing":        change(func(b *volume.Batch) { b.Data = b.Data[1:] }),
		"data left":           change(func(b *volume.Batch) { b.Records = b.Records[1:] }),
		"count 0":             change(func(b *volume.Batch) { b.Records[1].Count = 0 }),
		"block beyond all":    change(func(b *volume.Batch) { b.Records[1].Block = 1 << 63 }),
		"durable > received":  &Ack{Received: 1, Durable: 2},
		"lineage not growing": &Follow{Epoch: 4, Lineage: volume.Lineage{{Epoch: 3, From: 7}, {Epoch: 3, From: 8}}},
		"epoch 0":             &Follow{},
		"size of a half":      &Resize{Size: ballast.ChunkSize / 2},
		"size beyond all":     &Resize{Size: 2 * MaxSize},
		"half a chunk":        &Chunk{Data: make([]byte, ballast.ChunkSize/2)},
		"chunk beyond all":    &Chunk{Chunk: 1 << 31},
		"no volume":           &Hello{Min: 1, Max: 1, Node: "n", Epoch: 1},
		"no version":          &Hello{Volume: "v", Node: "n", Epoch: 1},
	} {
		if got, err := NewReader(bytes.NewReader(Encode(nil, m))).Next(); err == nil {
			t.Errorf("%s: read %+v", name, got)
		}
	}
}

// FuzzReader feeds a reader bytes of any kind: it returns what encodes to the same
// bytes again, or an error, and never panics.
func FuzzReader(f *testing.F) {
	for name, m := range examples() {
		if name != "chunk" {
			f.Add(Encode(nil, m), true)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, sealed bool) {
		if sealed {
			in = bytes.Clone(in)
			reseal(in)
		}
		r := NewReader(bytes.NewReader(in))
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			again := Encode(nil, m)
			switch m.(type) {
			case *Hello, *Welcome, *Refuse: // may be longer (W3)
			default:
				if !bytes.HasPrefix(in, again) {
					t.Fatalf("%+v\nwas read from % x\nand encodes to % x", m, in, again)
				}
			}
			if len(in) < len(again) {
				return
			}
			in = in[headerSize+int(le32(in)):]
		}
	})
}
