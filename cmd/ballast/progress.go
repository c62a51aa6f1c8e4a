package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

const (
	// barEvery and lineEvery keep a terminal quiet enough to read and a log short.
	barEvery  = 100 * time.Millisecond
	lineEvery = 10 * time.Second

	// rateAfter is how long a step runs before its rate says anything.
	rateAfter = time.Second

	barWidth = 24
)

// progress tells how far long work has come: on a terminal with a bar that is drawn
// anew, elsewhere with a line every ten seconds, so that short work says nothing.
type progress struct {
	w       io.Writer
	columns int // of the terminal; 0: it is none
	now     func() time.Time

	at    *ballastv1.Progress // the newest there is; nil at first
	begun time.Time           // the present step
	first uint64              // bytes that were done then
	told  time.Time           // when something was written
	drawn bool                // a bar is on the screen
}

func (c *cli) newProgress() *progress {
	return &progress{w: c.stderr, columns: c.columns(), now: c.now, told: c.now()}
}

// update takes note of how far the work is, and tells it unless it just did.
func (p *progress) update(at *ballastv1.Progress) {
	if at == nil {
		return
	}
	now := p.now()
	if p.at == nil || p.at.GetStep() != at.GetStep() || at.GetDoneBytes() < p.first {
		p.begun, p.first = now, at.GetDoneBytes()
	}
	p.at = at
	if every := p.every(); now.Sub(p.told) < every {
		return
	}
	p.told = now
	if p.columns == 0 {
		fmt.Fprintf(p.w, "ballast: %s\n", p.line(now))
		return
	}
	p.drawn = true
	fmt.Fprintf(p.w, "\r%s\x1b[K", p.bar(now))
}

func (p *progress) every() time.Duration {
	if p.columns == 0 {
		return lineEvery
	}
	return barEvery
}

// clear takes the bar from the screen, before something else is written there.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// aboveBar writes what stays on the screen, where a bar may be in the way.
type aboveBar struct {
	bar *progress
	w   io.Writer
}

func (a aboveBar) Write(b []byte) (int, error) {
	a.bar.clear()
	return a.w.Write(b)
}

// line is how far the work is, in words.
func (p *progress) line(now time.Time) string {
	words := []string{p.amount()}
	if rate := p.rate(now); rate > 0 {
		words = append(words, p.counted(rate)+"/s")
		if todo := p.todo(); todo > 0 {
			words = append(words, span(wait(todo, rate))+" left")
		}
	}
	return or(p.at.GetStep(), "working") + ": " + strings.Join(words, ", ")
}

// bar is line with a picture where the total is known, cut to the terminal's width.
func (p *progress) bar(now time.Time) string {
	text := p.line(now)
	if total := p.at.GetTotalBytes(); total > 0 {
		done := float64(min(p.at.GetDoneBytes(), total)) / float64(total)
		full := int(done * barWidth)
		text = fmt.Sprintf("[%s%s] %3.0f%%  %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), done*100, text)
	}
	if r := []rune(text); len(r) >= p.columns {
		text = string(r[:max(0, p.columns-1)])
	}
	return text
}

// amount is "1 GiB of 4 GiB", or what is done where nobody knows the whole.
func (p *progress) amount() string {
	if total := p.at.GetTotalBytes(); total > 0 {
		return fmt.Sprintf("%s of %s", p.counted(p.at.GetDoneBytes()), p.counted(total))
	}
	return p.counted(p.at.GetDoneBytes())
}

// counted is a number of what is being counted: bytes, or pieces.
func (p *progress) counted(n uint64) string {
	if p.at.GetUnit() == "pieces" { // as packs or trees are
		return fmt.Sprint(n)
	}
	return size(n)
}

// rate is bytes per second of the present step; 0 as long as it says nothing.
func (p *progress) rate(now time.Time) uint64 {
	took := now.Sub(p.begun)
	if took < rateAfter {
		return 0
	}
	return uint64(float64(p.at.GetDoneBytes()-p.first) / took.Seconds())
}

// todo is what is left, as far as that is known.
func (p *progress) todo() uint64 {
	if total, done := p.at.GetTotalBytes(), p.at.GetDoneBytes(); total > done {
		return total - done
	}
	return 0
}

// wait is how long bytes take at rate, which is not 0.
func wait(bytes, rate uint64) time.Duration {
	const most = 1000 * 24 * time.Hour
	return time.Duration(min(float64(bytes)/float64(rate)*float64(time.Second), float64(most)))
}

// whereItWas is what an interrupted work has done; empty when nothing was heard of it.
func (p *progress) whereItWas() string {
	if p.at == nil {
		return ""
	}
	return fmt.Sprintf(" at %q, %s done", or(p.at.GetStep(), "working"), p.amount())
}
