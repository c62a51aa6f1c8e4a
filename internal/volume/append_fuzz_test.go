package volume

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// FuzzAppend offers a copy batches of whoever claims to be its leader. It takes one whole, and
// then has it after a power cut too, or refuses it, and is what it was.
func FuzzAppend(f *testing.F) {
	good := batchOf(1, 3, 7, 0, 8)
	f.Add(uint64(1), uint64(3), encodeRecords(good.Records), good.Data, false)
	f.Add(uint64(1), uint64(3), encodeRecords(good.Records), good.Data[:blockSize], true)
	f.Add(uint64(2), uint64(9), []byte{}, []byte{1}, true)
	f.Fuzz(func(t *testing.T, epoch, first uint64, records, data []byte, sums bool) {
		disk := crashfs.New()
		c := newFollower(t, disk)
		appendAll(t, c, batchOf(1, 1, 5, 6))
		b := Batch{Epoch: ballast.Epoch(epoch), First: ballast.LSN(first), Records: decodeRecords(records), Data: data}
		if sums {
			sumRecords(b)
		}
		want := ballast.LSN(2)
		switch err := c.Append(b); {
		case err == nil:
			want = b.Last()
		case !errors.Is(err, ballast.ErrInvalid) && !errors.Is(err, ErrGap) && !errors.Is(err, ErrStaleEpoch):
			t.Errorf("Append = %v; want a reason", err)
		}
		if durable, err := c.Sync(); err != nil || durable != want {
			t.Errorf("Sync = %d, %v; want %d", durable, err, want)
		}
		if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 || rep.Last != want {
			t.Errorf("Check = %+v, %v; want records up to %d", rep, err, want)
		}
		if st := openFollower(t, disk).State(); st.Last != want {
			t.Errorf("opened again it ends at %d; want %d", st.Last, want)
		}
	})
}

// sumRecords makes every checksum right, for what lies within the data.
func sumRecords(b Batch) {
	data := b.Data
	for i := range b.Records {
		n := b.Records[i].record().dataBlocks() * blockSize
		if n > uint64(len(data)) {
			return
		}
		b.Records[i].CRC = dataSum(data[:n])
		data = data[n:]
	}
}

func encodeRecords(records []Record) (p []byte) {
	for _, r := range records {
		p = binary.LittleEndian.AppendUint64(p, uint64(r.Block))
		p = binary.LittleEndian.AppendUint32(p, r.Count)
		p = binary.LittleEndian.AppendUint32(p, r.CRC)
		p = append(p, 0)
		if r.Discard {
			p[len(p)-1] = 1
		}
	}
	return p
}

func decodeRecords(p []byte) (records []Record) {
	const size = 17
	for ; len(p) >= size; p = p[size:] {
		records = append(records, Record{
			Block:   ballast.Block(binary.LittleEndian.Uint64(p)),
			Count:   binary.LittleEndian.Uint32(p[8:]),
			CRC:     binary.LittleEndian.Uint32(p[12:]),
			Discard: p[16]&1 == 1,
		})
	}
	return records
}
