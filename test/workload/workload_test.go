package workload

import (
	"os"
	"path/filepath"
	"testing"
)

// Inspect must see what it exists to see (W2): a place that went back, a torn block, and a
// torn place where no step was under way; and must allow what a cut may do.
func TestOverwritingIsInspected(t *testing.T) {
	const steps = 40
	for _, tt := range []struct {
		name  string
		spoil func(o *overwriting, file []byte)
		want  uint64 // 0: an error
	}{
		{"nothing", func(*overwriting, []byte) {}, steps},
		{"the next step half done", func(o *overwriting, file []byte) {
			copy(o.place(file, steps+1)[:2*blockSize], content(steps+1, o.size))
		}, steps},
		{"the next step done", func(o *overwriting, file []byte) {
			copy(o.place(file, steps+1), content(steps+1, o.size))
		}, steps + 1},
		{"a place as before", func(o *overwriting, file []byte) {
			slot := slotOf(steps-1, o.slots)
			clear(o.place(file, steps-1))
			if before := latest(steps-2, o.slots)[slot]; before > 0 {
				copy(o.place(file, steps-1), content(before, o.size))
			}
		}, 0},
		{"a torn block", func(o *overwriting, file []byte) {
			copy(o.place(file, steps+1)[:512], content(steps+1, o.size))
		}, 0},
		{"another place torn", func(o *overwriting, file []byte) {
			clear(o.place(file, steps)[:blockSize])
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &overwriting{path: filepath.Join(t.TempDir(), "f"), slots: 16, size: 4 * blockSize}
			if err := o.Resume(0); err != nil {
				t.Fatal(err)
			}
			defer o.f.Close()
			for n := uint64(1); n <= steps; n++ {
				if err := o.Step(n); err != nil {
					t.Fatal(err)
				}
			}
			file, err := os.ReadFile(o.path)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(o, file)
			if err := os.WriteFile(o.path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := o.Inspect()
			if (err != nil) != (tt.want == 0) || got != tt.want {
				t.Errorf("Inspect = %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

// place is the part of the file that step n writes.
func (o *overwriting) place(file []byte, n uint64) []byte {
	slot := slotOf(n, o.slots)
	return file[slot*o.size : (slot+1)*o.size]
}
