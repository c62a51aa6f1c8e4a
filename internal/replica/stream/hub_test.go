package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/ballast-io/ballast"
)

// What was flushed is on the copy, once that is in sync (R1): one that began with all the
// log, and one that began with chunks.
func TestACopyGetsWhatIsFlushed(t *testing.T) {
	t.Run("log", func(t *testing.T) { testCopyGetsWhatIsFlushed(t, (*cluster).blank) })
	t.Run("chunks", func(t *testing.T) { testCopyGetsWhatIsFlushed(t, func(*cluster, *node) {}) })
}

func testCopyGetsWhatIsFlushed(t *testing.T, begin func(*cluster, *node)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		a, b := c.nodes["n1"], c.nodes["n2"]
		begin(c, b)
		c.receive(b)
		l := c.lead(a)
		c.inSync("n2")
		for i := range 100 {
			if _, err := l.v.WriteAt(block(byte(i)), int64(i)*ballast.BlockSize); err != nil {
				t.Fatal(err)
			}
			if err := l.v.Flush(); err != nil {
				t.Fatal(err)
			}
			last, _, _ := l.v.Position()
			if got := b.r.Copies()[0]; got.Durable < last {
				t.Fatalf("flush %d was acknowledged, and n2 has %d of %d", i, got.Durable, last)
			}
		}
		l.close(t)
		b.stop()
		c.sameContent(a, b)
	})
}
