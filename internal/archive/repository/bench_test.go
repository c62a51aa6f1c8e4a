package repository

import (
	"context"
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store"
)

// sink is a store that takes everything and keeps nothing.
type sink struct{ store.Store }

func (sink) Put(context.Context, string, []byte) error    { return nil }
func (sink) Create(context.Context, string, []byte) error { return nil }
func (sink) List(context.Context, string) iter.Seq2[store.Object, error] {
	return func(func(store.Object, error) bool) {}
}

// BenchmarkSave is the price of archiving per processor and chunk, but for the store: data
// of which half compresses to a third.
func BenchmarkSave(b *testing.B) {
	r, err := initWith(b.Context(), sink{}, []byte(password), Host{}, cheap)
	if err != nil {
		b.Fatal(err)
	}
	const chunk = 1 << 20
	data := mixed(rand.New(rand.NewPCG(1, 1)), chunk)
	w := r.NewWriter()
	defer w.Close()
	b.SetBytes(chunk)
	b.ReportAllocs()
	var mu sync.Mutex
	var n uint64
	b.RunParallel(func(pb *testing.PB) {
		mine := append([]byte(nil), data...)
		for pb.Next() {
			mu.Lock()
			n++
			binary.LittleEndian.PutUint64(mine, n)
			mu.Unlock()
			if _, _, err := w.Save(b.Context(), DataBlob, mine); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHasBlob asks an index of a million blobs, a volume of 1 TiB.
func BenchmarkHasBlob(b *testing.B) {
	x, ids := bigIndex(1 << 20)
	i := 0
	for b.Loop() {
		if !x.has(blobID{DataBlob, ids[i%len(ids)]}) {
			b.Fatal("a blob is not in the index")
		}
		i += 7919
	}
}

// bigIndex is an index of n blobs of 1 MiB, and their IDs.
func bigIndex(n int) (*index, []ID) {
	x, ids := newIndex(), make([]ID, n)
	const perPack = 32
	var packs []indexedPack
	for i := range n {
		ids[i] = Hash(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		if i%perPack == 0 {
			packs = append(packs, indexedPack{id: Hash(ids[i][:])})
		}
		p := &packs[len(packs)-1]
		p.blobs = append(p.blobs, placedBlob{packBlob{ids[i], DataBlob, 500_000, 1 << 20}, uint32(i%perPack) * 500_000})
	}
	for i, some := range portions(packs) {
		x.add(Hash([]byte{byte(i)}), some)
	}
	return x, ids
}
