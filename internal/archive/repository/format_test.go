package repository

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

func id(b byte) ID { return Hash([]byte{b}) }

// A folder is these bytes, today and in every later version: equal folders must stay
// equal blobs.
func TestEncodeTree(t *testing.T) {
	sub := id(1)
	at := time.Date(2026, 3, 4, 5, 6, 7, 80, time.UTC)
	tree := Tree{Nodes: []Node{
		{Name: "a<b>&\"\n\xff", Type: NodeFile, Mode: 0o644, ModTime: at, AccessTime: at, ChangeTime: at, UID: 1, GID: 2, User: "u", Size: 7, Content: []ID{id(2)}},
		{Name: "d", Type: NodeDir, Mode: fs.ModeDir | 0o700, Subtree: &sub},
		{Name: "e", Type: NodeFile, Content: []ID{}},
		{Name: "l", Type: NodeSymlink, Mode: fs.ModeSymlink | 0o777, LinkTarget: "d"},
	}}
	never := `"mtime":"0001-01-01T00:00:00Z","atime":"0001-01-01T00:00:00Z","ctime":"0001-01-01T00:00:00Z","uid":0,"gid":0`
	want := `{"nodes":[{"name":"a\u003cb\u003e\u0026\\\"\\n\\xff","type":"file","mode":420,"mtime":"2026-03-04T05:06:07.00000008Z","atime":"2026-03-04T05:06:07.00000008Z","ctime":"2026-03-04T05:06:07.00000008Z","uid":1,"gid":2,"user":"u","size":7,"content":["` + id(2).String() + `"]},` +
		`{"name":"d","type":"dir","mode":2147484096,` + never + `,"content":null,"subtree":"` + sub.String() + `"},` +
		`{"name":"e","type":"file",` + never + `,"content":[]},` +
		`{"name":"l","type":"symlink","mode":134218239,` + never + `,"linktarget":"d","content":null}]}` + "\n"
	got, err := EncodeTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("encoded as\n%s\nwant\n%s", got, want)
	}
	again, err := DecodeTree(got)
	if err != nil || again.Nodes[0].Name != tree.Nodes[0].Name || again.Nodes[2].Content == nil {
		t.Errorf("decoded as %+v, %v", again, err)
	}
}

func TestTreesThatAreRefused(t *testing.T) {
	zeros := strings.Repeat("00", 32)
	for name, nodes := range map[string]string{
		"not ascending":          `{"name":"b","type":"fifo"},{"name":"a","type":"fifo"}`,
		"twice the same":         `{"name":"a","type":"fifo"},{"name":"a","type":"fifo"}`,
		"no name":                `{"name":"","type":"fifo"}`,
		"out of the folder":      `{"name":"..","type":"fifo"}`,
		"a path":                 `{"name":"a/b","type":"fifo"}`,
		"a path, hidden":         `{"name":"a\\x2fb","type":"fifo"}`,
		"a quote too many":       `{"name":"a\"b","type":"fifo"}`,
		"unknown type":           `{"name":"a","type":"door"}`,
		"no type":                `{"name":"a"}`,
		"file without a list":    `{"name":"a","type":"file","content":null}`,
		"file with no such id":   `{"name":"a","type":"file","content":["abc"]}`,
		"file with a zero id":    `{"name":"a","type":"file","content":["` + zeros + `"]}`,
		"folder without a tree":  `{"name":"a","type":"dir"}`,
		"folder of a zero tree":  `{"name":"a","type":"dir","subtree":"` + zeros + `"}`,
		"folder with content":    `{"name":"a","type":"dir","subtree":"` + id(1).String() + `","content":["` + id(1).String() + `"]}`,
		"socket with a tree":     `{"name":"a","type":"socket","subtree":"` + id(1).String() + `"}`,
		"year that is too great": `{"name":"a","type":"fifo","mtime":"10000-01-01T00:00:00Z"}`,
	} {
		if _, err := DecodeTree([]byte(`{"nodes":[` + nodes + `]}`)); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%s: %v; want %v", name, err, ballast.ErrInvalid)
		}
	}
	for _, whole := range []string{"", "null x", "{", `{"nodes":[]} {}`, "[]"} {
		if _, err := DecodeTree([]byte(whole)); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%q: %v; want %v", whole, err, ballast.ErrInvalid)
		}
	}
	if _, err := DecodeTree([]byte(`{"nodes":[{"name":"a","type":"fifo","of a later version":1}]}`)); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
	if _, err := EncodeTree(Tree{Nodes: []Node{{Name: "b", Type: NodeFIFO}, {Name: "a", Type: NodeFIFO}}}); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("a folder that is not in order is encoded: %v", err)
	}
}

func TestHeaders(t *testing.T) {
	blobs := []placedBlob{
		{packBlob{id(1), DataBlob, 100, 0}, 0},
		{packBlob{id(2), DataBlob, 50, 1000}, 100},
		{packBlob{id(3), TreeBlob, 40, 0}, 150},
		{packBlob{id(4), TreeBlob, 60, 70}, 190},
	}
	h := encodeHeader(blobs)
	if want := "00" + "64000000" + id(1).String() + "02" + "32000000" + "e8030000" + id(2).String() +
		"01" + "28000000" + id(3).String() + "03" + "3c000000" + "46000000" + id(4).String(); hex.EncodeToString(h) != want {
		t.Errorf("the header is %x; want %s", h, want)
	}
	got, err := decodeHeader(h)
	if err != nil || !slices.Equal(got, blobs) {
		t.Errorf("decoded as %v, %v", got, err)
	}
	if size := packSize(blobs); size != 250+int64(len(h))+Overhead+trailer {
		t.Errorf("the pack has %d bytes", size)
	}
	for name, spoil := range map[string]func(h []byte) []byte{
		"unknown kind":    func(h []byte) []byte { h[0] = 4; return h },
		"cut short":       func(h []byte) []byte { return h[:len(h)-1] },
		"too short":       func(h []byte) []byte { h[1] = 31; return h },
		"too long":        func(h []byte) []byte { h[4] = 0x7f; return h },
		"content of zero": func(h []byte) []byte { copy(h[plainEntry+5:], []byte{0, 0, 0, 0}); return h },
		"content of 4GB":  func(h []byte) []byte { copy(h[plainEntry+5:], []byte{255, 255, 255, 255}); return h },
	} {
		if _, err := decodeHeader(spoil(bytes.Clone(h))); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%s: %v; want %v", name, err, ballast.ErrInvalid)
		}
	}
}

func TestIndexesThatAreRefused(t *testing.T) {
	pack := func(blobs string) string {
		return `{"packs":[{"id":"` + id(9).String() + `","blobs":[` + blobs + `]}]}`
	}
	blob := func(b byte, rest string) string { return `{"id":"` + id(b).String() + `",` + rest + `}` }
	if packs, err := decodeIndex([]byte(`{"supersedes":["` + id(7).String() + `"],` + pack(blob(2, `"type":"tree","offset":40,"length":40`) + "," + blob(1, `"type":"data","offset":0,"length":40`))[1:])); err != nil || packs[0].blobs[0].id != id(1) {
		t.Errorf("a good index: %v, %v; want its blobs in the order of offsets", packs, err)
	}
	for name, text := range map[string]string{
		"overlap":             pack(blob(1, `"type":"data","offset":0,"length":40`) + "," + blob(2, `"type":"data","offset":39,"length":40`)),
		"unknown type":        pack(blob(1, `"type":"door","offset":0,"length":40`)),
		"shorter than a seal": pack(blob(1, `"type":"data","offset":0,"length":31`)),
		"beyond 4 GiB":        pack(blob(1, `"type":"data","offset":4294967295,"length":40`)),
		"negative":            pack(blob(1, `"type":"data","offset":-1,"length":40`)),
		"too much inside":     pack(blob(1, `"type":"data","offset":0,"length":40,"uncompressed_length":4000000000`)),
		"no id":               pack(`{"type":"data","offset":0,"length":40}`),
		"no pack":             `{"packs":[{"blobs":[]}]}`,
		"no JSON":             `{`,
	} {
		if _, err := decodeIndex([]byte(text)); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%s: %v; want %v", name, err, ballast.ErrInvalid)
		}
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	good := newConfig()
	for name, spoil := range map[string]func(c *config){
		"version 1":        func(c *config) { c.Version = 1 },
		"version 3":        func(c *config) { c.Version = 3 },
		"no id":            func(c *config) { c.ID = "" },
		"reducible":        func(c *config) { c.Polynomial = "20000000000000" },
		"no polynomial":    func(c *config) { c.Polynomial = "" },
		"a sign before it": func(c *config) { c.Polynomial = "-" + good.Polynomial },
	} {
		c := good
		spoil(&c)
		data, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeConfig(data); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("%s: %v; want %v", name, err, ballast.ErrInvalid)
		}
	}
}

// A5: what is compressed cannot be more than it says, however small it is.
func TestBombs(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	bomb := c.compress(nil, make([]byte, 64<<20))
	if _, err := c.decompress(bomb, 1000); err == nil {
		t.Error("64 MiB decompress to 1000 bytes")
	}
	if _, err := c.decompress(bomb, maxBlob+1); err == nil {
		t.Error("a blob may be larger than the limit")
	}
	bomb = append([]byte{unpackedV2}, c.compress(nil, make([]byte, maxUnpacked+1))...)
	if _, err := c.unpackFile(bomb); err == nil {
		t.Error("a file may be larger than the limit")
	}
}

func TestParseID(t *testing.T) {
	if got, err := ParseID(id(1).String()); err != nil || got != id(1) {
		t.Errorf("ParseID = %v, %v; want what String wrote", got, err)
	}
	for _, s := range []string{"", "ab", strings.Repeat("g", 64), id(1).String() + "0", strings.Repeat("é", 32)} {
		if _, err := ParseID(s); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("ParseID(%q): %v; want %v", s, err, ballast.ErrInvalid)
		}
	}
}
