package sim

import "time"

// latency is how long a message takes: sometimes very long.
func (w *world) latency() time.Duration {
	if w.calm {
		return w.between(100*time.Microsecond, 500*time.Microsecond)
	}
	switch w.rng.IntN(200) {
	case 0:
		return w.between(0, 400*ms)
	case 1, 2, 3, 4:
		return w.between(0, 20*ms)
	}
	return w.between(100*time.Microsecond, ms) + w.slowNet
}

// send carries one message that may be lost, as a request with its own connection is.
func (w *world) send(from, to int, p *process, fn func()) {
	if !w.calm && w.oneIn(300) {
		return
	}
	life := p.life
	w.after(w.latency(), func() {
		if !w.cut[from][to] && p.life == life {
			p.do(life, fn)
		}
	})
}

// conn is a TCP connection: what arrives, arrives in order and once. When the link is
// cut it waits; when nobody is there any more, the sender hears so if it can.
type conn struct {
	w      *world
	ends   [2]*process
	lives  [2]int
	at     [2]int
	closed [2]bool
	queue  [2][]func()
	busy   [2]bool
	reset  [2]func() // told that the other side is gone
	heard  [2]time.Duration
}

// dial returns a connection, nil if there is none to be had now.
func (w *world) dial(p *process, from int, q *process, to int) *conn {
	if w.cut[from][to] || w.cut[to][from] || q.dead || q.stopped && w.oneIn(2) {
		return nil
	}
	return &conn{w: w, ends: [2]*process{p, q}, lives: [2]int{p.life, q.life}, at: [2]int{from, to}, heard: [2]time.Duration{w.now, w.now}}
}

// send sends from one side (0 dialed, 1 was dialed) to the other, which runs fn.
func (c *conn) send(from int, fn func()) {
	if c.closed[from] {
		return
	}
	c.queue[from] = append(c.queue[from], fn)
	if !c.busy[from] {
		c.busy[from] = true
		c.w.after(c.w.latency(), func() { c.deliver(from) })
	}
}

func (c *conn) deliver(from int) {
	to := 1 - from
	p := c.ends[to]
	for len(c.queue[from]) > 0 {
		switch {
		case c.closed[to] || p.dead || p.life != c.lives[to]:
			c.queue[from] = nil
			c.tell(from)
			return
		case c.w.cut[c.at[from]][c.at[to]]:
			c.w.after(c.w.between(10*ms, 60*ms), func() { c.deliver(from) })
			return
		case p.stopped:
			p.backlog = append(p.backlog, func() { c.deliver(from) })
			return
		}
		fn := c.queue[from][0]
		c.queue[from] = c.queue[from][1:]
		c.heard[to] = c.w.now
		fn()
	}
	c.queue[from] = nil
	c.busy[from] = false
}

// tell lets one side know that the other is gone, if a packet gets through.
func (c *conn) tell(side int) {
	c.w.after(c.w.latency(), func() {
		p := c.ends[side]
		if c.closed[side] || c.w.cut[c.at[1-side]][c.at[side]] {
			return
		}
		c.closed[side] = true
		if c.reset[side] != nil {
			p.do(c.lives[side], c.reset[side])
		}
	})
}

// close ends one side.
func (c *conn) close(side int) {
	if !c.closed[side] {
		c.closed[side] = true
		c.queue[side] = nil
		c.tell(1 - side)
	}
}
