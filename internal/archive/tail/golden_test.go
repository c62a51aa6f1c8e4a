package tail

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

var update = flag.Bool("update", false, "write testdata of the present format version anew")

const goldenV1 = "testdata/v1"

// TestGolden reads a tail of every format version there was, in which the volume was
// attached, taken over, restored in its place and removed, and wants what was put there. The key
// is the fake sealer's.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	want, err := os.ReadFile(filepath.Join(goldenV1, "line.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(t, readGolden(t)); got != string(want) {
		t.Errorf("the golden tail reads as\n%s\nwant\n%s", got, want)
	}
}

func readGolden(t *testing.T) *memory {
	t.Helper()
	m := newMemory()
	dir := os.DirFS(goldenV1)
	err := fs.WalkDir(dir, "log", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		m.objects[name], err = fs.ReadFile(dir, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// describe says what is in an archive: the line, and each content that it restores.
func describe(t *testing.T, m *memory) string {
	t.Helper()
	sealer := newSealer(1)
	l := mustLoad(t, m, sealer, testVolume, 0)
	got := restore(t.Context(), NewReader(m, sealer), l)
	if got.err != nil || len(l.Problems) > 0 {
		t.Fatalf("restored up to LSN %d: %v, problems %v", got.newest, got.err, l.Problems)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "volume %s epoch %d tip %d open %q by %s removed %t\n", l.Volume, l.Epoch, l.Tip().LSN, l.Open.Name, l.Open.Node, l.Removed != nil)
	for _, s := range l.Segments {
		fmt.Fprintf(&b, "segment %s upto %d\n", s.Name, s.Upto)
	}
	for _, p := range l.Points() {
		fmt.Fprintf(&b, "point %s LSN %d %s size %d\n", p.Time.Format("15:04:05"), p.LSN, p.Epoch, p.Size)
	}
	for lsn := range l.Tip().LSN + 1 {
		if c, ok := got.content[lsn]; ok {
			fmt.Fprintf(&b, "content %d %v\n", lsn, c)
		}
	}
	for _, n := range l.Notes {
		fmt.Fprintf(&b, "note %s: %s\n", n.Object, n.Why)
	}
	return b.String()
}

func writeGolden(t *testing.T) {
	t.Helper()
	w := newWorld(11, testVolume, newSealer(1))
	w.step(t, 3)
	w.drain(t)
	w.holder.epoch, w.holder.shipper = 2, nil
	w.step(t, 3)
	w.takeOver(t)
	w.step(t, 3)
	w.goBack(t)
	w.step(t, 2)
	m := w.holder.store
	if err := MarkRemoved(t.Context(), m, newSealer(1), &Removed{testVolume, w.holder.epoch, testTime}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(goldenV1); err != nil {
		t.Fatal(err)
	}
	for name, data := range m.objects {
		path := filepath.Join(goldenV1, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(goldenV1, "line.txt"), []byte(describe(t, m)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// step lets the holder and those before it write and ship.
func (w *world) step(t *testing.T, times int) {
	t.Helper()
	for range times {
		for _, c := range append(slices.Clone(w.former), w.holder) {
			c.writeSome(w.mk)
			if err := c.step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func goldenObjects(f *testing.F, kind Kind) (objects [][]byte) {
	f.Helper()
	dir := os.DirFS(goldenV1)
	err := fs.WalkDir(dir, "log", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || ParseName(name).Kind != kind {
			return err
		}
		data, err := fs.ReadFile(dir, name)
		objects = append(objects, data)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return objects
}

// The fuzzers seal what they make up, or the key would refuse it all.

func FuzzHeader(f *testing.F) {
	s := newSealer(1)
	for _, data := range goldenObjects(f, SegmentKind) {
		n, err := FrontSize(data)
		if err != nil {
			f.Fatal(err)
		}
		plain, err := s.Unseal(data[frontSize:n])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		h, err := decodeHeader(plain)
		if err != nil {
			return
		}
		if err := h.check(); err != nil {
			t.Fatalf("decoded what is not valid: %v", err)
		}
		again, err := decodeHeader(h.encode())
		if err != nil || again.First != h.First || again.Last != h.Last || len(again.Groups) != len(h.Groups) || again.blocks != h.blocks {
			t.Errorf("decoded %+v, and %+v, %v when encoded again", h, again, err)
		}
	})
}

// FuzzHeaderFacts gets behind the compression.
func FuzzHeaderFacts(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add((&writer{}).b, packRuns(nil))
	f.Fuzz(func(t *testing.T, facts, runs []byte) {
		h := &Header{}
		if h.decodeFacts(facts) != nil {
			return
		}
		if _, _, err := unpackRuns(compress(runs), h.Groups); err != nil {
			return
		}
		if h.check() == nil && (h.Last < h.First || len(h.Groups) == 0) {
			t.Errorf("accepted the records %d to %d", h.First, h.Last)
		}
	})
}

func FuzzFront(f *testing.F) {
	s := newSealer(1)
	for _, data := range goldenObjects(f, SegmentKind) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := DecodeHeader(data, s); err == nil && h.FrontSize() > int64(len(data)) {
			t.Errorf("decoded a header of %d bytes from %d", h.FrontSize(), len(data))
		}
	})
}

func fuzzDocument[T any](f *testing.F, kind Kind, decode func([]byte, Sealer) (*T, error), encode func(*T, Sealer) ([]byte, error)) {
	f.Helper()
	s := newSealer(1)
	for _, data := range goldenObjects(f, kind) {
		plain, err := s.Unseal(data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		doc, err := decode(s.Seal(plain), s)
		if err != nil {
			return
		}
		sealed, err := encode(doc, s)
		if err == nil {
			_, err = decode(sealed, s)
		}
		if err != nil {
			t.Errorf("accepted what it refuses when encoded again: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	fuzzDocument(f, OpenKind, func(b []byte, s Sealer) (*Open, error) {
		o, _, err := DecodeOpen(b, s)
		return o, err
	}, func(o *Open, s Sealer) ([]byte, error) {
		b, _, err := EncodeOpen(o, s)
		return b, err
	})
}

func FuzzHead(f *testing.F) { fuzzDocument(f, HeadKind, DecodeHead, EncodeHead) }

func FuzzRemoved(f *testing.F) { fuzzDocument(f, RemovedKind, DecodeRemoved, EncodeRemoved) }

func FuzzName(f *testing.F) {
	f.Add("log/v/0000000000000001/0000000000000002-0000000000000003")
	f.Add("log/v/removed")
	f.Fuzz(func(t *testing.T, name string) {
		if n := ParseName(name); n.Kind != Other && n.String() != name {
			t.Errorf("ParseName(%q) = %v, which is another name", name, n)
		}
	})
}

// FuzzBuild gives Build any objects in any places: it ends, and says nothing that is not there.
func FuzzBuild(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		var found []Found
		for ; len(b) >= 6 && len(found) < 40; b = b[6:] {
			epoch := ballast.Epoch(b[0]%5 + 1)
			reign := Reign{testVolume, epoch, Digest{byte(epoch)}, Position{epoch - 1, ballast.LSN(b[1] % 16), Digest{b[2] % 32}}}
			if b[0] >= 128 {
				head := &Head{reign, reign.Parent.LSN + ballast.LSN(b[4]%16), Digest{b[5] % 32}}
				if head.check() == nil {
					found = append(found, Found{Name: Name{Kind: HeadKind, Volume: testVolume, Epoch: epoch}.String(), Head: head})
				}
				continue
			}
			h := &Header{Reign: reign, Prev: Digest{b[3] % 32}, Behind: reign.Parent.LSN + ballast.LSN(b[4]%8), digest: Digest{b[5] % 32}}
			h.First = h.Behind + 1 + ballast.LSN(b[4]/8%4)
			h.Last = h.First + ballast.LSN(b[5]%4)
			h.Groups = []Group{{Last: h.Last, Time: testTime, Size: 4096}}
			if h.check() != nil {
				continue // no decoder returns it
			}
			name := Name{SegmentKind, testVolume, epoch, h.First, h.Last}
			found = append(found, Found{Name: name.String(), Header: h})
		}
		l := Build(testVolume, 0, found)
		at := ballast.LSN(0)
		for _, s := range l.Segments {
			if s.Header.First <= at {
				t.Errorf("segments overlap at LSN %d", at)
			}
			at = max(at, s.end())
		}
		_ = l.Obsolete(at) // must end
	})
}
