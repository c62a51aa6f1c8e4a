package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// clock is a moment for people, to the second and with its zone: what is restored
// must not depend on a guess.
func (c *cli) clock(t *timestamppb.Timestamp) string {
	if !isSet(t) {
		return "-"
	}
	return t.AsTime().In(c.now().Location()).Format(time.DateTime + " MST")
}

// clockAgo is clock, and how long ago that was.
func (c *cli) clockAgo(t *timestamppb.Timestamp) string {
	if !isSet(t) {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", c.clock(t), ago(c.now(), t.AsTime()))
}

// typed is a moment as --at reads it back, in the present zone: the second at whose
// end it had been reached.
func (c *cli) typed(t *timestamppb.Timestamp) string {
	at := t.AsTime().Add(time.Second - time.Nanosecond).Truncate(time.Second)
	return fmt.Sprintf("%q", at.In(c.now().Location()).Format(time.DateTime))
}

func isSet(t *timestamppb.Timestamp) bool {
	return t.GetSeconds() != 0 || t.GetNanos() != 0
}

// shortID is what a person needs of a snapshot's or key's name, as restic shows it.
func shortID(id string) string { return id[:min(8, len(id))] }

// found says which point was found for what was asked for: a time, or nothing for
// the newest one.
func (c *cli) found(p *ballastv1.Point, asked *timestamppb.Timestamp) string {
	at := c.clock(p.GetTime())
	if !isSet(asked) || asked.GetSeconds() == p.GetTime().GetSeconds() {
		return at
	}
	return fmt.Sprintf("%s, the last flush before %s", at, c.clock(asked))
}
