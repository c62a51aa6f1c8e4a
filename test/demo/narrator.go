package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// narrator tells a newcomer what happens.
type narrator struct{ w io.Writer }

func (n *narrator) say(format string, args ...any) { fmt.Fprintf(n.w, format+"\n", args...) }

// chapter begins a part of the story.
func (n *narrator) chapter(title string) {
	n.say("\n%s\n%s", title, strings.Repeat("─", len([]rune(title))))
}

// command shows what a reader would type.
func (n *narrator) command(words ...string) { n.say("  $ %s", strings.Join(words, " ")) }

// result shows what came of it.
func (n *narrator) result(format string, args ...any) { n.say("    "+format, args...) }

func (n *narrator) showLogs(m *lab.Machine) {
	for _, log := range m.Logs() {
		n.say("\n%s", log)
	}
}

// table shows what was done, what survived, and how long it was away.
func (n *narrator) table(blows []blow) {
	n.chapter("What was done to Redis, and what survived")
	t := tabwriter.NewWriter(n.w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "WHAT WAS DONE\tWHAT SURVIVED\tAWAY")
	for _, b := range blows {
		fmt.Fprintf(t, "%s\t%s\t%s\n", b.done, b.survived, b.away)
	}
	t.Flush() // to the terminal, which is either there or not
	n.say("")
}

// blow is one thing that was done to Redis, told afterwards.
type blow struct{ done, survived, away string }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
