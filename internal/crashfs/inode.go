package crashfs

import (
	"maps"
	"math/rand/v2"
)

const (
	sector   = 512
	pageSize = 4096
)

// content is a sparse file: pages that are not there read as zeros. Pages are
// never changed once they are in a content, so that copies can share them.
type content struct {
	pages map[int64]*[pageSize]byte
	size  int64
}

func (c *content) clone() content { return content{maps.Clone(c.pages), c.size} }

func (c *content) readAt(p []byte, off int64) {
	for len(p) > 0 {
		in := off % pageSize
		n := min(int64(len(p)), pageSize-in)
		if page := c.pages[off/pageSize]; page != nil {
			copy(p[:n], page[in:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+n
	}
}

func (c *content) writeAt(p []byte, off int64) {
	c.size = max(c.size, off+int64(len(p)))
	for len(p) > 0 {
		in := off % pageSize
		n := min(int64(len(p)), pageSize-in)
		page := new([pageSize]byte)
		if old := c.pages[off/pageSize]; old != nil {
			*page = *old
		}
		copy(page[in:], p[:n])
		c.setPage(off/pageSize, page)
		p, off = p[n:], off+n
	}
}

func (c *content) setPage(i int64, page *[pageSize]byte) {
	if c.pages == nil {
		c.pages = map[int64]*[pageSize]byte{}
	}
	c.pages[i] = page
}

// zero makes a range within the size read as zeros.
func (c *content) zero(off, n int64) {
	end := min(off+n, c.size)
	for off < end {
		step := min(end-off, pageSize-off%pageSize)
		if step == pageSize {
			delete(c.pages, off/pageSize)
		} else if c.pages[off/pageSize] != nil {
			c.writeAt(make([]byte, step), off)
		}
		off += step
	}
}

func (c *content) truncate(size int64) {
	if size < c.size {
		c.zero(size, c.size-size)
	}
	c.size = size
}

// change is one unsynced alteration of a file.
type change struct {
	off   int64
	data  []byte // what was written; nil for a punch or a truncation
	punch int64  // how many bytes were made zero
	size  int64  // the new size of a truncation, else -1
}

func (ch change) apply(c *content) {
	switch {
	case ch.data != nil:
		c.writeAt(ch.data, ch.off)
	case ch.size >= 0:
		c.truncate(ch.size)
	default:
		c.zero(ch.off, ch.punch)
	}
}

// tear applies a random subset of the change's sectors.
func (ch change) tear(c *content, rng *rand.Rand) {
	if ch.data == nil {
		ch.maybe(c, rng)
		return
	}
	for at := 0; at < len(ch.data); {
		n := min(len(ch.data)-at, sector-int((ch.off+int64(at))%sector))
		change{off: ch.off + int64(at), data: ch.data[at : at+n], size: -1}.maybe(c, rng)
		at += n
	}
}

func (ch change) maybe(c *content, rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		ch.apply(c)
	}
}

type inode struct {
	seen    content  // what a process reads
	durable content  // what the disk is sure to hold
	pending []change // how one becomes the other
}

func (n *inode) do(ch change) {
	ch.apply(&n.seen)
	n.pending = append(n.pending, ch)
}

func (n *inode) sync() {
	for _, ch := range n.pending {
		ch.apply(&n.durable)
	}
	n.pending = nil
}

// survive returns what a power cut may leave of the file.
func (n *inode) survive(rng *rand.Rand) content {
	c := n.durable.clone()
	switch style := rng.IntN(4); style {
	case 0: // nothing that was not synced
	case 1: // a prefix: the disk wrote in order
		for _, ch := range n.pending[:rng.IntN(len(n.pending)+1)] {
			ch.apply(&c)
		}
	case 2: // any of the writes, each whole
		for _, ch := range n.pending {
			ch.maybe(&c, rng)
		}
	default: // any of the sectors
		for _, ch := range n.pending {
			ch.tear(&c, rng)
		}
	}
	return c
}
