package volume

import (
	"cmp"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

// maxPoints bounds the points that wait for the archive: more than an hour of
// one in every second.
const maxPoints = 4096

// point is a flush that a restore can stop at, or one that was begun ahead: what the volume was after
// some write, as a power cut could have left it.
type point struct {
	lsn    ballast.LSN
	time   time.Time
	size   int64    // of the volume, in bytes
	end    position // of the log then; other writers may have added a little
	opened bool     // it ends what recovery found, and stays whatever follows
}

// points are those that the archive has not read. There is one for every second
// in which there was a flush: the second's last one.
type points struct {
	list   []point // in the order of LSNs and of time
	latest time.Time
}

// note adds a flush. Time never runs backwards, whatever the clock says.
func (p *points) note(next point) {
	next.time = next.time.Round(0).UTC() // as others will see it, who cannot compare clocks of this machine
	if next.time.Before(p.latest) {
		next.time = p.latest
	}
	p.latest = next.time
	if n := len(p.list); n > 0 && !p.list[n-1].opened && next.time.Unix() == p.list[n-1].time.Unix() {
		p.list[n-1] = next
		return
	}
	if len(p.list) >= maxPoints {
		p.thin()
	}
	p.list = append(p.list, next)
}

// thin drops every other one of the older half: the longer ago, the coarser.
func (p *points) thin() {
	half := len(p.list) / 2
	kept := 0
	for i := 1; i < half; i += 2 {
		p.list[kept] = p.list[i]
		kept++
	}
	p.list = slices.Delete(p.list, kept, half)
}

// forget drops the points up to lsn.
func (p *points) forget(lsn ballast.LSN) {
	p.list = slices.Delete(p.list, 0, len(p.list)-len(p.after(lsn)))
}

// after returns the points behind lsn.
func (p *points) after(lsn ballast.LSN) []point {
	i, found := slices.BinarySearchFunc(p.list, lsn, func(q point, lsn ballast.LSN) int { return cmp.Compare(q.lsn, lsn) })
	if found {
		i++
	}
	return p.list[i:]
}

// oldest is the time of the first point, zero if there is none.
func (p *points) oldest() time.Time {
	if len(p.list) == 0 {
		return time.Time{}
	}
	return p.list[0].time
}
