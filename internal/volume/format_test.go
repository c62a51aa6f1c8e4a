package volume

import (
	"bytes"
	"testing"

	"github.com/ballast-io/ballast"
)

func sampleBatch() *batchHeader {
	return &batchHeader{epoch: 3, first: 42, durable: 40, records: []record{
		{lsn: 42, kind: kindWrite, block: 7, count: 2, crc: 0xabcd, pos: 101},
		{lsn: 43, kind: kindDiscard, block: 1 << 40, count: 1 << 31, pos: 103},
		{lsn: 44, kind: kindWrite, block: 0, count: 1, crc: 1, pos: 103},
	}}
}

func TestBatchHeader(t *testing.T) {
	good := make([]byte, blockSize)
	sampleBatch().encode(good, 9, 100)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	for _, tt := range []struct {
		name  string
		block []byte
		salt  uint64
		pos   position
		ok    bool
	}{
		{"whole", good, 9, 100, true},
		{"of another volume", good, 8, 100, false},
		{"of another place in the log", good, 9, 101, false},
		{"magic damaged", flip(0), 9, 100, false},
		{"checksum damaged", flip(4), 9, 100, false},
		{"first LSN damaged", flip(16), 9, 100, false},
		{"last byte damaged", flip(blockSize - 1), 9, 100, false},
		{"zeros", make([]byte, blockSize), 9, 100, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, ok := decodeBatchHeader(tt.block, tt.salt, tt.pos); ok != tt.ok {
				t.Errorf("decode = %t; want %t", ok, tt.ok)
			}
		})
	}
}

func FuzzBatchHeader(f *testing.F) {
	block := make([]byte, blockSize)
	sampleBatch().encode(block, 9, 100)
	f.Add(block)
	f.Fuzz(func(t *testing.T, b []byte) {
		block := make([]byte, blockSize)
		copy(block, b)
		seal(block, batchMagic, 9, 100) // or the checksum would refuse it all
		h, ok := decodeBatchHeader(block, 9, 100)
		if ok && (h.blocks() == 0 || len(h.records) > maxRecords) {
			t.Errorf("decode accepted a batch of %d blocks and %d records", h.blocks(), len(h.records))
		}
	})
}

func FuzzSegmentHeader(f *testing.F) {
	block := make([]byte, blockSize)
	segmentHeader{seq: 7, first: 42, epoch: 3}.encode(block, 9)
	f.Add(block)
	f.Fuzz(func(t *testing.T, b []byte) {
		block := make([]byte, blockSize)
		copy(block, b)
		h, ok := decodeSegmentHeader(block, 9)
		again := make([]byte, blockSize)
		if h.encode(again, 9); ok && !bytes.Equal(again, block) {
			t.Errorf("decode accepted what encode would not write: %+v", h)
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	d := small
	d.History = Lineage{{1, 1}, {4, 90}}
	good, err := d.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDescriptor(b)
		if err != nil {
			return
		}
		again, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeDescriptor(again); err != nil {
			t.Errorf("decode accepted what it refuses when encoded again: %v", err)
		}
	})
}

func FuzzChunkPage(f *testing.F) {
	f.Add(make([]byte, blockSize), 0)
	f.Fuzz(func(t *testing.T, b []byte, page int) {
		block := make([]byte, blockSize)
		copy(block, b)
		if turn, ok := decodePage(block, page); ok && turn == 0 {
			t.Skip("a turn of 0 is never newer than none")
		}
	})
}

func TestLineage(t *testing.T) {
	h := Lineage{{2, 1}, {5, 10}, {6, 20}}
	for _, tt := range []struct {
		lsn  ballast.LSN
		want ballast.Epoch
	}{{0, 0}, {1, 2}, {9, 2}, {10, 5}, {19, 5}, {20, 6}, {99, 6}} {
		if got := h.epochAt(tt.lsn); got != tt.want {
			t.Errorf("epochAt(%d) = %v; want %v", tt.lsn, got, tt.want)
		}
	}
	if got := h.Next(9, 20); len(got) != 3 || got[1] != (Reign{5, 10}) || got[2] != (Reign{9, 20}) {
		t.Errorf("Next = %v; want no reign without a record", got)
	}
	var long Lineage
	for n := range 2 * keptReigns {
		long = append(long, Reign{ballast.Epoch(n + 1), ballast.LSN(10*n + 1)})
	}
	if got := long.trim(400); len(got) != len(long)-40+1 || got[0] != long[40-1] {
		t.Errorf("trim = %d reigns from %v on; want what records from 400 on need", len(got), got[0])
	}
	if got := long.trim(10000); len(got) != keptReigns {
		t.Errorf("trim = %d reigns; want the last %d", len(got), keptReigns)
	}
}

func TestExtents(t *testing.T) {
	var e extents
	for _, x := range []extent{{10, 20}, {30, 40}, {20, 25}, {0, 5}, {38, 50}, {26, 29}} {
		e = e.add(x)
	}
	want := extents{{0, 5}, {10, 25}, {26, 29}, {30, 50}}
	if len(e) != len(want) {
		t.Fatalf("extents = %v; want %v", e, want)
	}
	for i := range e {
		if e[i] != want[i] {
			t.Fatalf("extents = %v; want %v", e, want)
		}
	}
	for b, in := range map[ballast.Block]bool{0: true, 4: true, 5: false, 9: false, 10: true, 24: true, 25: false, 26: true, 29: false, 49: true, 50: false} {
		if e.has(b) != in {
			t.Errorf("has(%d) = %t; want %t", b, !in, in)
		}
	}
}

func TestUpkeep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		load  load
		fold  bool
		spare int
	}{
		{"a new volume", load{limit: 64}, false, 2},
		{"a little is used", load{used: 3, limit: 64, unfolded: true}, false, 2},
		{"a quarter is used", load{used: 16, limit: 64, unfolded: true}, true, 2},
		{"the log is nearly full", load{used: 63, limit: 64, unfolded: true}, true, 1},
		{"the log is full", load{used: 64, limit: 64, unfolded: true}, true, 0},
		{"idle, not folded", load{used: 1, limit: 64, unfolded: true, idle: idleTicks}, true, 1},
		{"idle, folded", load{used: 1, free: 9, limit: 64, idle: idleTicks}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if fold := shouldFold(tt.load); fold != tt.fold {
				t.Errorf("shouldFold = %t; want %t", fold, tt.fold)
			}
			if n := spare(tt.load); n != tt.spare {
				t.Errorf("spare = %d; want %d", n, tt.spare)
			}
		})
	}
}
