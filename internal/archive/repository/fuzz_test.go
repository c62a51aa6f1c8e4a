package repository

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// What is refused is refused without harm; what is accepted is written again as it
// was read.

func FuzzHeader(f *testing.F) {
	f.Add(encodeHeader([]placedBlob{{packBlob{id(1), DataBlob, 100, 0}, 0}, {packBlob{id(2), TreeBlob, 50, 1000}, 100}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		blobs, err := decodeHeader(data)
		if err != nil {
			return
		}
		if again := encodeHeader(blobs); !bytes.Equal(again, data) {
			t.Errorf("%x is written again as %x", data, again)
		}
		if !contiguous(blobs) {
			t.Errorf("%x: the blobs do not follow one another", data)
		}
	})
}

func FuzzPack(f *testing.F) {
	r, err := newRepository(newMemory(), newSecret(), newConfig())
	if err != nil {
		f.Fatal(err)
	}
	p := &packer{}
	b, sealed := r.seal(nil, DataBlob, id(1), []byte{1})
	p.add(b, sealed)
	p.finish(r.sealer)
	f.Add(p.data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if blobs, err := r.packHeader(data); err == nil && packSize(blobs) != int64(len(data)) {
			t.Errorf("a pack of %d bytes has blobs for %d", len(data), packSize(blobs))
		}
	})
}

func FuzzIndex(f *testing.F) {
	good, err := encodeIndex([]indexedPack{{id(9), []placedBlob{{packBlob{id(1), DataBlob, 100, 0}, 0}, {packBlob{id(2), TreeBlob, 50, 1000}, 100}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		packs, err := decodeIndex(data)
		if err != nil {
			return
		}
		again, err := encodeIndex(packs)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decodeIndex(again)
		if err != nil || !slices.EqualFunc(same, packs, func(a, b indexedPack) bool { return a.id == b.id && slices.Equal(a.blobs, b.blobs) }) {
			t.Errorf("%s is written again as %s, %v", data, again, err)
		}
		newIndex().add(id(1), packs)
	})
}

func FuzzTree(f *testing.F) {
	sub := id(1)
	good, err := EncodeTree(Tree{Nodes: []Node{{Name: "a\n", Type: NodeFile, Content: []ID{id(2)}}, {Name: "b", Type: NodeDir, Subtree: &sub}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := DecodeTree(data)
		if err != nil {
			return
		}
		once, err := EncodeTree(tree)
		if err != nil {
			t.Fatalf("%s is read and cannot be written: %v", data, err)
		}
		tree, err = DecodeTree(once)
		if err != nil {
			t.Fatalf("%s is written and cannot be read: %v", once, err)
		}
		if twice, err := EncodeTree(tree); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s is written again as %s, %v", once, twice, err)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	parent := id(2)
	s := &Snapshot{Time: time.Unix(1, 2).UTC(), Tree: id(1), Parent: &parent, Paths: []string{"/a"}, Tags: []string{"t"}, Summary: &Summary{DataAdded: 1}}
	good, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSnapshot(id(3), data)
		if err != nil {
			return
		}
		once, err := s.encode()
		if err != nil {
			t.Fatalf("%s is read and cannot be written: %v", data, err)
		}
		if s, err = decodeSnapshot(id(3), once); err != nil {
			t.Fatalf("%s is written and cannot be read: %v", once, err)
		}
		if twice, err := s.encode(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s is written again as %s, %v", once, twice, err)
		}
	})
}

func FuzzKey(f *testing.F) {
	k, err := newKeyFile(newSecret(), []byte(password), Host{"h", "u"}, scryptCost{2, 1, 1})
	if err != nil {
		f.Fatal(err)
	}
	good, err := k.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := decodeKeyFile(data)
		if err != nil {
			return
		}
		if 128*k.N*k.R > 256<<20 {
			t.Errorf("a key may use %d bytes", 128*k.N*k.R)
		}
		if k.N*k.R*k.P > 1<<10 {
			return // it is allowed, and would only take time
		}
		if s, err := k.open([]byte(password)); err == nil {
			if _, err := s.sealer(); err != nil {
				t.Logf("the master key of a good key file is none: %v", err)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	good, err := newConfig().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeConfig(data)
		if err == nil && (c.Version != version || len(c.ID) != 64) {
			t.Errorf("%s is taken for a config", data)
		}
	})
}

func FuzzLock(f *testing.F) {
	good, err := json.Marshal(lockFile{Time: time.Unix(1, 2).UTC(), Hostname: "h", PID: 7, Boot: "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	r, err := newRepository(newMemory(), newSecret(), newConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		if l, err := decodeLock(data); err == nil {
			r.isStale(id(1), l)
			_ = l.lockedError(id(1)).Error() // must not panic
		}
	})
}

func FuzzSealed(f *testing.F) {
	r, err := newRepository(newMemory(), newSecret(), newConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.codec.packFile([]byte("{}")), true)
	f.Add([]byte("{}"), false)
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		if !whole {
			if plain, err := r.Sealer("test").Unseal(data); err == nil {
				t.Errorf("%x is taken for sealed: %x", data, plain)
			}
			return
		}
		plain, err := r.sealer.unseal(r.sealer.seal(data))
		if err != nil || !bytes.Equal(plain, data) {
			t.Errorf("%x is unsealed as %x, %v", data, plain, err)
		}
		if text, err := r.codec.unpackFile(plain); err == nil && len(text) > maxUnpacked {
			t.Errorf("%x decompresses to %d bytes", data, len(text))
		}
	})
}
