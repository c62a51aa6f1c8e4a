package tail

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

const testVolume = "abcdefghijklmnopqrstuvwxyz"

var testTime = time.Unix(1700000000, 0).UTC()

func testOpen(epoch ballast.Epoch, parent Position) *Open {
	return &Open{
		Volume: testVolume, Epoch: epoch, Name: "db", Spec: ballast.DefaultVolumeSpec(), Parent: parent,
		Node: "n1", Time: testTime, Nonce: "nonce-of-16-bytes",
	}
}

func randomBlocks(rng *rand.Rand, n int) []byte {
	p := make([]byte, n*ballast.BlockSize)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// largeDelta has three frames: two that do not compress, one that does.
func largeDelta() *delta.Delta {
	rng := rand.New(rand.NewPCG(1, 2))
	return &delta.Delta{Volume: testVolume, Epoch: 3, After: 40, Groups: []delta.Group{
		{Last: 42, Time: testTime, Size: 1 << 30, Runs: []delta.Run{{First: 5, Count: 300}, {First: 400, Count: 7, Zero: true}}, Data: randomBlocks(rng, 300)},
		{Last: 43, Size: 1 << 30},
		{Last: 60, Time: testTime.Add(time.Second), Size: 2 << 30, Runs: []delta.Run{{First: 0, Count: 212}, {First: 1 << 18, Count: 9}}, Data: append(randomBlocks(rng, 212), make([]byte, 9*ballast.BlockSize)...)},
	}}
}

func testLink() Link {
	return Link{Reign{testVolume, 3, Digest{1}, Position{2, 40, Digest{2}}}, Digest{1}, 40}
}

func TestEncodeThenDecode(t *testing.T) {
	s, d := newSealer(1), largeDelta()
	obj, err := Encode(d, testLink(), s)
	if err != nil {
		t.Fatal(err)
	}
	if want := "log/abcdefghijklmnopqrstuvwxyz/0000000000000003/0000000000000029-000000000000003c"; obj.Name != want {
		t.Errorf("name = %s; want %s", obj.Name, want)
	}
	n, err := FrontSize(obj.Data[:12])
	if err != nil {
		t.Fatal(err)
	}
	h, err := DecodeHeader(obj.Data[:n], s)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h, obj.Header) || h.ObjectSize() != int64(len(obj.Data)) || len(h.Frames) != 3 {
		t.Errorf("DecodeHeader = %+v; want %+v", h, obj.Header)
	}
	if !h.Frames[0].Plain || !h.Frames[1].Plain || h.Frames[2].Plain {
		t.Error("frames that do not compress are not plain, or others are")
	}
	if got := decodeDelta(t, h, obj.Data, s); !reflect.DeepEqual(got, d) {
		t.Error("the delta that was decoded is not the one that was encoded")
	}
}

// decodeDelta makes a delta of an object again.
func decodeDelta(t *testing.T, h *Header, object []byte, s Sealer) *delta.Delta {
	t.Helper()
	var data []byte
	for i, f := range h.Frames {
		p, err := h.DecodeFrame(i, object[f.Offset:f.Offset+f.Length], s)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, p...)
	}
	runs, err := h.Runs()
	if err != nil {
		t.Fatal(err)
	}
	d := &delta.Delta{Volume: h.Volume, Epoch: h.Epoch, After: h.First - 1}
	for i, g := range h.Groups {
		group := delta.Group{Last: g.Last, Time: g.Time, Size: g.Size, Runs: runs[i]}
		if n := group.DataBlocks() * ballast.BlockSize; n > 0 {
			group.Data, data = bytes.Clone(data[:n]), data[n:]
		}
		d.Groups = append(d.Groups, group)
	}
	return d
}

// Whatever bit is flipped, and wherever it ends: header or frame say so.
func TestDecodeDamaged(t *testing.T) {
	s, d := newSealer(1), largeDelta()
	d.Groups = d.Groups[:2]
	d.Groups[0].Runs, d.Groups[0].Data = []delta.Run{{First: 5, Count: 1}}, d.Groups[0].Data[:ballast.BlockSize]
	obj, err := Encode(d, testLink(), s)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := FrontSize(obj.Data) // made above
	for i := range obj.Data {
		if _, err := DecodeHeader(obj.Data[:min(i, int(n)-1)], s); err == nil {
			t.Fatalf("DecodeHeader of %d bytes = nil; want an error", i)
		}
		obj.Data[i] ^= 1 << (i % 8)
		if readWhole(obj.Data, s) == nil {
			t.Fatalf("read with a flipped bit in byte %d of %d = nil; want an error", i, len(obj.Data))
		}
		obj.Data[i] ^= 1 << (i % 8)
	}
	if err := readWhole(obj.Data, s); err != nil {
		t.Error(err)
	}
	if err := readWhole(obj.Data, newSealer(2)); err == nil {
		t.Error("read with another key = nil; want an error")
	}
}

func readWhole(object []byte, s Sealer) error {
	h, err := DecodeHeader(object, s)
	if err != nil {
		return err
	}
	for i, f := range h.Frames {
		if _, err := h.DecodeFrame(i, object[f.Offset:f.Offset+f.Length], s); err != nil {
			return err
		}
	}
	return nil
}

// Each kind of sealed object is refused where another one is expected.
func TestKindsDoNotMix(t *testing.T) {
	s := newSealer(1)
	open, digest, err := EncodeOpen(testOpen(3, Position{2, 40, Digest{2}}), s)
	if err != nil {
		t.Fatal(err)
	}
	head, err := EncodeHead(&Head{Reign{testVolume, 3, digest, Position{2, 40, Digest{2}}}, 40, digest}, s)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := EncodeRemoved(&Removed{testVolume, 3, testTime}, s)
	if err != nil {
		t.Fatal(err)
	}
	header := s.Seal((&Header{Reign: testLink().Reign, Groups: []Group{{Last: 1}}}).encode())
	for i, sealed := range [][]byte{open, head, removed, header} {
		_, _, openErr := DecodeOpen(sealed, s)
		_, headErr := DecodeHead(sealed, s)
		_, removedErr := DecodeRemoved(sealed, s)
		for j, err := range []error{openErr, headErr, removedErr} {
			if (err == nil) != (i == j) {
				t.Errorf("decoder %d of kind %d = %v", j, i, err)
			}
		}
	}
}

func TestDocumentsAreStrict(t *testing.T) {
	s := newSealer(1)
	for _, tt := range []struct{ name, plain string }{
		{"unknown field", `{"ballast_log":1,"removed":{"volume":"a","epoch":1,"time":"2026-01-01T00:00:00Z","why":1}}`},
		{"two values", `{"ballast_log":1,"removed":{"volume":"a","epoch":1,"time":"2026-01-01T00:00:00Z"}} {}`},
		{"no version", `{"removed":{"volume":"a","epoch":1,"time":"2026-01-01T00:00:00Z"}}`},
		{"a path for a volume", `{"ballast_log":1,"removed":{"volume":"../a","epoch":1,"time":"2026-01-01T00:00:00Z"}}`},
		{"no time", `{"ballast_log":1,"removed":{"volume":"a","epoch":1}}`},
	} {
		if _, err := DecodeRemoved(s.Seal([]byte(tt.plain)), s); err == nil {
			t.Errorf("%s: decoded; want an error", tt.name)
		}
	}
	var later *versionError
	if _, err := DecodeRemoved(s.Seal([]byte(`{"ballast_log":2,"epitaph":1}`)), s); !errors.As(err, &later) {
		t.Errorf("a later version = %v; want that it says to upgrade", err)
	}
}

func TestOpenIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Open)
		ok     bool
	}{
		{"whole", func(*Open) {}, true},
		{"from another volume", func(o *Open) { o.Origin = &Origin{Volume: "other"} }, true},
		{"no epoch", func(o *Open) { o.Epoch = 0 }, false},
		{"continues itself", func(o *Open) { o.Parent.Epoch = o.Epoch }, false},
		{"no name", func(o *Open) { o.Name = "" }, false},
		{"no size", func(o *Open) { o.Spec.Size = 0 }, false},
		{"a nonce that can be guessed", func(o *Open) { o.Nonce = "1" }, false},
		{"an origin that is a path", func(o *Open) { o.Origin = &Origin{Volume: "../x"} }, false},
	} {
		o := testOpen(3, Position{2, 40, Digest{2}})
		tt.change(o)
		sealed, _, err := EncodeOpen(o, newSealer(1))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%s: EncodeOpen = %v; want ok = %t", tt.name, err, tt.ok)
		}
		if !tt.ok {
			continue
		}
		if got, _, err := DecodeOpen(sealed, newSealer(1)); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: DecodeOpen = %+v, %v; want %+v", tt.name, got, err, o)
		}
	}
}

func TestNames(t *testing.T) {
	for _, n := range []Name{
		{SegmentKind, testVolume, 3, 1, 1<<64 - 1}, {OpenKind, testVolume, 1 << 63, 0, 0},
		{HeadKind, testVolume, 7, 0, 0}, {RemovedKind, testVolume, 0, 0, 0},
	} {
		if got := ParseName(n.String()); got != n {
			t.Errorf("ParseName(%s) = %+v; want %+v", n, got, n)
		}
	}
	for _, name := range []string{
		"", "log/", "log/v", "log/v/", "log/../removed", "repo/v/removed", "log/v/0000000000000000/open",
		"log/v/000000000000000A/open", "log/v/1/open", "log/v/0000000000000001/opens", "log/v/0000000000000001/open/x",
		"log/v/0000000000000001/0000000000000002-0000000000000001", "log/v/0000000000000001/0000000000000000-0000000000000001",
		"log/v/0000000000000001/+000000000000002-0000000000000003", "log/v/removed/x",
	} {
		if got := ParseName(name); got.Kind != Other {
			t.Errorf("ParseName(%s) = %+v; want none", name, got)
		}
	}
}
