package repository

import (
	"encoding/binary"
	"iter"
	"slices"
	"sync"
)

// packBlob is a blob as a pack's header has it.
type packBlob struct {
	id     ID
	typ    Type
	length uint32 // sealed, in bytes
	plain  uint32 // bytes of its content where it is compressed; else 0
}

// size of the blob's content in bytes.
func (b packBlob) size() int64 {
	if b.plain > 0 {
		return int64(b.plain)
	}
	return int64(b.length) - Overhead
}

// indexedPack is a pack as an index file has it.
type indexedPack struct {
	id    ID
	blobs []placedBlob // in the order of offsets
}

// placedBlob is a blob and where it begins.
type placedBlob struct {
	packBlob
	offset uint32
}

// location is where a blob is.
type location struct {
	pack   ID
	offset uint32
	packBlob
}

// index knows where every blob is. It keeps about 64 bytes a blob: entries in blocks
// that never move, and a hash table of their numbers.
//
// A blob may be in several packs; each is an entry. A pack may be named by several
// index files; it counts as long as one of them does.
type index struct {
	mu     sync.RWMutex // guards everything below
	files  map[ID]bool  // the index files that are in here
	packs  []packEntry
	byPack map[ID]uint32 // number in packs
	tables [2]table      // by Type
}

// packEntry is a pack that the index names.
type packEntry struct {
	id    ID
	named []ID // by which index files
}

func newIndex() *index {
	return &index{files: map[ID]bool{}, byPack: map[ID]uint32{}}
}

// add takes in what an index file names.
func (x *index) add(file ID, packs []indexedPack) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files[file] {
		return
	}
	x.files[file] = true
	for _, p := range packs {
		x.addPackLocked(file, p)
	}
}

func (x *index) addPackLocked(file ID, p indexedPack) {
	n, known := x.byPack[p.id]
	if !known {
		n = uint32(len(x.packs))
		x.packs = append(x.packs, packEntry{id: p.id})
		x.byPack[p.id] = n
	}
	if !slices.Contains(x.packs[n].named, file) {
		x.packs[n].named = append(x.packs[n].named, file)
	}
	for _, b := range p.blobs {
		e := entry{id: b.id, pack: n, offset: b.offset, length: b.length, plain: b.plain}
		if t := &x.tables[b.typ]; !known || !t.has(e) {
			t.insert(e)
		}
	}
}

// forget lets go of index files that are no more, and of packs that only they named.
func (x *index) forget(gone []ID) {
	if len(gone) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range gone {
		delete(x.files, f)
	}
	old, number := x.packs, make([]uint32, len(x.packs))
	x.packs, x.byPack = nil, map[ID]uint32{}
	for i, p := range old {
		p.named = slices.DeleteFunc(p.named, func(f ID) bool { return !x.files[f] })
		number[i] = dropped
		if len(p.named) > 0 {
			number[i] = uint32(len(x.packs))
			x.byPack[p.id] = number[i]
			x.packs = append(x.packs, p)
		}
	}
	for i := range x.tables {
		x.tables[i] = x.tables[i].renumbered(number)
	}
}

// known returns the index files that are in here.
func (x *index) known() []ID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	ids := make([]ID, 0, len(x.files))
	for id := range x.files {
		ids = append(ids, id)
	}
	return ids
}

// has reports whether a blob is in the repository.
func (x *index) has(b blobID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for range x.tables[b.typ].find(b.id) {
		return true
	}
	return false
}

// locate returns every place of a blob.
func (x *index) locate(b blobID) (all []location) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for e := range x.tables[b.typ].find(b.id) {
		all = append(all, x.locationLocked(b.typ, e))
	}
	return all
}

func (x *index) locationLocked(t Type, e *entry) location {
	return location{pack: x.packs[e.pack].id, offset: e.offset, packBlob: packBlob{e.id, t, e.length, e.plain}}
}

// contents returns the packs that the index names, each with its blobs in the order
// of offsets. It takes several times the memory of the index.
func (x *index) contents() map[ID][]placedBlob {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make(map[ID][]placedBlob, len(x.packs))
	for _, p := range x.packs {
		all[p.id] = nil
	}
	for t := range x.tables {
		for e := range x.tables[t].all() {
			id := x.packs[e.pack].id
			all[id] = append(all[id], placedBlob{packBlob{e.id, Type(t), e.length, e.plain}, e.offset})
		}
	}
	for _, blobs := range all {
		slices.SortFunc(blobs, func(a, b placedBlob) int { return int(int64(a.offset) - int64(b.offset)) })
	}
	return all
}

// entry is a blob in a pack, in 48 bytes.
type entry struct {
	id                          ID
	pack, offset, length, plain uint32
}

// dropped is the number of a pack that is not in the index any more.
const dropped = ^uint32(0)

const blockSize = 1024 // entries

// table finds entries by their blobs' IDs. Its slots hold numbers of entries plus
// one, in open addressing; several entries may have one ID.
type table struct {
	blocks []*[blockSize]entry
	n      int
	slots  []uint32 // a power of two, at most three quarters full
}

func (t *table) at(i int) *entry { return &t.blocks[i/blockSize][i%blockSize] }

func (t *table) insert(e entry) {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.grow()
	}
	if t.n == len(t.blocks)*blockSize {
		t.blocks = append(t.blocks, new([blockSize]entry))
	}
	*t.at(t.n) = e
	t.n++
	t.link(t.n - 1)
}

// link puts an entry into the slots.
func (t *table) link(i int) {
	s := t.slot(t.at(i).id)
	for t.slots[s] != 0 {
		s = t.next(s)
	}
	t.slots[s] = uint32(i + 1)
}

func (t *table) grow() {
	t.slots = make([]uint32, max(64, 2*len(t.slots)))
	for i := range t.n {
		t.link(i)
	}
}

func (t *table) slot(id ID) int {
	return int(binary.LittleEndian.Uint64(id[:8]) & uint64(len(t.slots)-1))
}
func (t *table) next(s int) int { return (s + 1) & (len(t.slots) - 1) }

// find returns the entries of a blob.
func (t *table) find(id ID) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		if len(t.slots) == 0 {
			return
		}
		for s := t.slot(id); t.slots[s] != 0; s = t.next(s) {
			if e := t.at(int(t.slots[s] - 1)); e.id == id && !yield(e) {
				return
			}
		}
	}
}

func (t *table) has(want entry) bool {
	for e := range t.find(want.id) {
		if *e == want {
			return true
		}
	}
	return false
}

// all returns every entry.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i := range t.n {
			if !yield(t.at(i)) {
				return
			}
		}
	}
}

// renumbered returns the table without the packs that were dropped.
func (t *table) renumbered(number []uint32) (kept table) {
	for e := range t.all() {
		if n := number[e.pack]; n != dropped {
			moved := *e
			moved.pack = n
			kept.insert(moved)
		}
	}
	return kept
}
