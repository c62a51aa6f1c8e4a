package sim

import (
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

const chunks = 6

// content is what a volume holds: for every chunk the record that wrote it last.
type content [chunks]recordID

type recordID uint32

// written is a record. With what it follows it stands for a whole history.
type written struct {
	lsn       ballast.LSN
	epoch     ballast.Epoch
	prev      recordID
	chunk     int     // that it wrote
	content   content // of the volume, after it
	committed bool
}

// history is every record that any writer wrote; the first stands for nothing.
type history []written

func (h *history) init() { *h = append(make(history, 0, 1024), written{committed: true}) }

func (h *history) write(prev recordID, epoch ballast.Epoch, chunk int) recordID {
	id := recordID(len(*h))
	r := written{lsn: (*h)[prev].lsn + 1, epoch: epoch, prev: prev, chunk: chunk, content: (*h)[prev].content}
	r.content[chunk] = id
	*h = append(*h, r)
	return id
}

// at returns the record with an LSN in the history that ends with id.
func (h history) at(id recordID, lsn ballast.LSN) recordID {
	for h[id].lsn > lsn {
		id = h[id].prev
	}
	return id
}

// continues reports whether the history that ends with id holds record old.
func (h history) continues(id, old recordID) bool {
	return h[id].lsn >= h[old].lsn && h.at(id, h[old].lsn) == old
}

// files are a copy on a disk. A power cut takes what of the log was not synced; all
// else changes at once and durably, which is what internal/volume's own tests are about.
type files struct {
	w        *world
	exists   bool
	lost     bool // with the disk it was on: what it had is not here yet
	complete bool
	epoch    ballast.Epoch // stored
	lineage  volume.Lineage
	base     ballast.LSN // records up to it are recycled
	baseID   recordID
	log      []recordID // behind base
	synced   ballast.LSN
	applied  ballast.LSN
	image    content
	missing  uint     // chunks, one bit each
	cuts     int      // how often something was cut: what was being synced then is void
	staging  *staging // what is being brought in
	ahead    recordID // of a hollow copy: the newest that a fetched chunk came from
}

// staging are chunks on their way into a copy.
type staging struct {
	chunk [chunks]recordID
	have  uint
	to    recordID
	line  volume.Lineage
	since ballast.LSN
	full  bool
}

func (f *files) last() ballast.LSN { return f.base + ballast.LSN(len(f.log)) }

// id returns the record with an LSN from base on.
func (f *files) id(lsn ballast.LSN) recordID {
	if lsn == f.base {
		return f.baseID
	}
	return f.log[lsn-f.base-1]
}

func (f *files) lastID() recordID { return f.id(f.last()) }

func (f *files) append(id recordID) {
	f.log = append(f.log, id)
}

// cut makes the records behind lsn void.
func (f *files) cut(lsn ballast.LSN) {
	if lsn >= f.last() {
		return
	}
	f.w.count.Cuts++
	for _, id := range f.log[lsn-f.base:] {
		f.w.checker.cutting(f, id)
	}
	f.log = slices.Clip(f.log[:lsn-f.base])
	f.synced = min(f.synced, lsn)
	f.cuts++
}

// powerCut takes some of what was not synced, and staged.
func (f *files) powerCut() {
	if f.last() > f.synced {
		n := int(f.synced-f.base) + f.w.rng.IntN(int(f.last()-f.synced)+1)
		f.log = slices.Clip(f.log[:n])
	}
	f.cuts++
	f.staging = nil
}

// destroy is a disk that is lost with all that was on it.
func (f *files) destroy() { *f = files{w: f.w, cuts: f.cuts + 1} }

// state is what a copy says of itself.
func (f *files) state() replica.State {
	return replica.State{Lineage: f.lineage, Last: f.last(), Applied: f.applied, Complete: f.complete}
}

// durably is what an agent says of a copy.
func (f *files) durably() replica.State {
	s := f.state()
	s.Last = max(f.synced, f.base)
	return s
}

func (f *files) position() replica.Position {
	return replica.Position{Lineage: f.lineage, Last: f.last(), Oldest: f.base + 1}
}

// open makes the log's end durable, and the epoch the copy's own (V5).
func (f *files) open(epoch ballast.Epoch) {
	f.synced = f.last()
	f.epoch = epoch
	f.lineage = trimmed(f.lineage.Next(epoch, f.last()+1), f.base)
	f.staging = nil
}

// trimmed returns a lineage without what is long over, and no record from oldest on
// needs: the one before the log among them.
func trimmed(l volume.Lineage, oldest ballast.LSN) volume.Lineage {
	for len(l) > 4 && l[1].From <= oldest {
		l = l[1:]
	}
	return l
}

// fold brings records into the image, up to lsn (V3, R5), except into a chunk that
// is missing (V9).
func (f *files) fold(lsn ballast.LSN) {
	lsn = min(lsn, f.synced)
	for f.applied < lsn {
		id := f.id(f.applied + 1)
		chunk := f.w.history[id].chunk
		if f.missing&(1<<chunk) != 0 {
			return
		}
		f.w.checker.folding(f, id)
		f.image[chunk] = id
		f.applied++
	}
}

// recycle lets go of records that are applied and that nobody was promised.
func (f *files) recycle(upTo ballast.LSN) {
	upTo = min(upTo, f.applied)
	if upTo <= f.base {
		return
	}
	f.baseID = f.id(upTo)
	f.log = slices.Clone(f.log[upTo-f.base:])
	f.base = upTo
}

// view is what a reader would find: the image, and over it the log.
func (f *files) view() content {
	view := f.image
	for lsn := f.applied + 1; lsn <= f.last(); lsn++ {
		id := f.id(lsn)
		view[f.w.history[id].chunk] = id
	}
	return view
}

// merge makes what was staged the copy: chunks over the image, and nothing of the log.
func (f *files) merge() {
	s := f.staging
	f.staging = nil
	for c := range chunks {
		if s.have&(1<<c) != 0 {
			f.image[c] = s.chunk[c]
		}
	}
	f.base, f.baseID, f.log = f.w.history[s.to].lsn, s.to, nil
	f.synced, f.applied = f.base, f.base
	f.lineage, f.complete, f.missing = s.line, true, 0
	f.lost = false
	f.cuts++
	f.w.count.Merged++
	f.w.checker.whole(f, "merged")
}
