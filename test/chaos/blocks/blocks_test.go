package blocks

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ballast-io/ballast/test/chaos/history"
)

func TestRead(t *testing.T) {
	whole := make([]byte, Size)
	Fill(whole, 7, 1, 3)
	other := make([]byte, Size)
	Fill(other, 8, 1, 3)
	mixed := append(append([]byte(nil), whole[:512]...), other[512:]...)
	for _, tt := range []struct {
		name        string
		p           []byte
		file, block uint32
		want        history.Value
		ok          bool
	}{
		{"whole", whole, 1, 3, 7, true},
		{"never written", make([]byte, Size), 1, 3, 0, true},
		{"another block's", whole, 1, 4, 0, false},
		{"another file's", whole, 2, 3, 0, false},
		{"torn", mixed, 1, 3, 0, false},
		{"ends in zeroes", append(append([]byte(nil), whole[:Size/2]...), make([]byte, Size/2)...), 1, 3, 0, false},
	} {
		got, err := Read(tt.p, tt.file, tt.block)
		if got != tt.want || errors.Is(err, ErrDamaged) == tt.ok {
			t.Errorf("%s: read %d, %v; want %d, well: %t", tt.name, got, err, tt.want, tt.ok)
		}
	}
}

// TestUse lets two users work on a folder, one after the other, and judges what they say.
func TestUse(t *testing.T) {
	dir := onDisk(t)
	first := use(t, Options{Dir: dir, Incarnation: 1, Seed: 1}, 200)
	second := use(t, Options{Dir: dir, Incarnation: 2, Seed: 2}, 100)
	last := use(t, Options{Dir: dir, Incarnation: 3, ReadOnly: true}, 0)
	i1, i2, i3 := first.Incarnation("a", 1, nil), second.Incarnation("b", 2, nil), last.Incarnation("c", 3, nil)
	if n := i1.Acknowledged(); n < 200 {
		t.Errorf("%d writes acknowledged", n)
	}
	if len(i2.Found) < 100 {
		t.Errorf("found %d blocks", len(i2.Found))
	}
	for _, v := range append(history.Check(i1, i2), history.Check(i2, i3)...) {
		t.Error(v)
	}
	for _, v := range history.CheckWriters([]*history.Incarnation{i1, i2, i3}) {
		t.Error(v)
	}
}

// TestUseFindsLoss takes a block back behind a user's back.
func TestUseFindsLoss(t *testing.T) {
	dir := onDisk(t)
	first := use(t, Options{Dir: dir, Incarnation: 1, Seed: 1}, 200)
	f, err := os.OpenFile(filepath.Join(dir, "buffered"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, blocksOf*Size)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	last := use(t, Options{Dir: dir, Incarnation: 2, ReadOnly: true}, 0)
	if got := history.Check(first.Incarnation("a", 1, nil), last.Incarnation("b", 2, nil)); len(got) == 0 {
		t.Error("a file was emptied, and nothing was found wrong")
	}
}

// TestHearPartsOfLines hears what a killed user says last.
func TestHearPartsOfLines(t *testing.T) {
	h := NewHeard()
	h.Hear(bytes.NewBufferString("@ready 5\n@begin a direct 1 2 10\n@ack a 11\n@begin b direct 1 2 12\n@ac"))
	i := h.Incarnation("n", 1, nil)
	if len(i.Ops) != 2 || i.Acknowledged() != 1 || i.Ops[1].Return != history.Unknown {
		t.Errorf("heard %+v", i.Ops)
	}
	if ended, why := h.Ended(); !ended || why != "@ac; " {
		t.Errorf("ended: %t, %q", ended, why)
	}
}

// onDisk is a folder whose filesystem takes O_DIRECT.
func onDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "blocks-") //nolint:usetesting // t.TempDir may be in memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// use lets a user work until so many writes were acknowledged.
func use(t *testing.T, opts Options, acks int) *Heard {
	t.Helper()
	h := NewHeard()
	r, w := io.Pipe()
	go h.Hear(r)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(Use(w, opts), w.Close()) }()
	if !opts.ReadOnly {
		h.Await(func(n int, _ bool) bool { return n >= acks })
		r.Close() // nobody listens any more: it ends
	}
	if err := <-ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	h.Await(func(int, bool) bool { return false })
	return h
}

func TestReadExtent(t *testing.T) {
	for i, x := range layOut() {
		p, q := make([]byte, x.len), make([]byte, x.len)
		fillExtent(p, 7, i)
		fillExtent(q, 8, i)
		if got := readExtent(p, i); got != 7 {
			t.Errorf("extent %d of %d bytes: read %d; want 7", i, x.len, got)
		}
		if got := readExtent(append(append([]byte(nil), p[:x.len/2]...), q[x.len/2:]...), i); got != history.Torn {
			t.Errorf("extent %d of %d bytes, half of another: read %d", i, x.len, got)
		}
		if got := readExtent(make([]byte, x.len), i); got != 0 {
			t.Errorf("extent %d of zeroes: read %d", i, got)
		}
	}
}
