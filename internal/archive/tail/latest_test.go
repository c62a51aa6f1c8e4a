package tail

import (
	"strings"
	"testing"
)

// So is the loss of everything but what began it.
func TestLostAllButOpen(t *testing.T) {
	w := newWorld(1, testVolume, newSealer(1))
	for w.holder.epoch < 3 {
		w.turn(t)
	}
	w.drain(t)
	open := Name{Kind: OpenKind, Volume: testVolume, Epoch: wantWhole(t, w.holder).Epoch}
	for name := range w.holder.store.objects {
		if n := ParseName(name); n.Epoch == open.Epoch && n != open {
			delete(w.holder.store.objects, name)
		}
	}
	if line := mustLoad(t, w.holder.store, w.holder.sealer, testVolume, 0); len(line.Problems) == 0 {
		t.Error("nothing says that records are missing")
	}
}

// A store that loses everything of the newest epoch is noticed (T2): the object beside the
// epochs names it. What that epoch continued is still known, and whole.
func TestLostEpoch(t *testing.T) {
	w := newWorld(1, testVolume, newSealer(1))
	for w.holder.epoch < 3 {
		w.turn(t)
	}
	w.drain(t)
	whole := wantWhole(t, w.holder)
	prefix := epochPrefix(testVolume, whole.Epoch)
	for name := range w.holder.store.objects {
		if strings.HasPrefix(name, prefix) {
			delete(w.holder.store.objects, name)
		}
	}
	line := mustLoad(t, w.holder.store, w.holder.sealer, testVolume, 0)
	if len(line.Problems) == 0 || line.Problems[len(line.Problems)-1].Object != prefix {
		t.Fatalf("problems %v; want one that names %s", line.Problems, prefix)
	}
	if line.Epoch != whole.Epoch {
		t.Errorf("epoch %d; want %d", line.Epoch, whole.Epoch)
	}
	if at := line.Tip().LSN; at != whole.Open.Parent.LSN {
		t.Errorf("the history ends at LSN %d; want where epoch %d began, %d", at, whole.Epoch, whole.Open.Parent.LSN)
	}
}
