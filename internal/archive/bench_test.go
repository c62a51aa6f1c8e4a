package archive

import (
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
)

// BenchmarkWriteBase writes a volume of which half compresses well.
func BenchmarkWriteBase(b *testing.B) {
	const chunks = 256
	rng := rand.New(rand.NewPCG(1, 1))
	b.SetBytes(chunks * ballast.ChunkSize)
	for b.Loop() {
		b.StopTimer()
		m := newModel(b, newArchive(b, newMemory()), 1, volumeID(1), chunks)
		m.open()
		for i := range m.data {
			if m.data[i] = 'x'; i%4096 < 2048 {
				m.data[i] = byte(rng.Uint32())
			}
		}
		for i := range m.changed {
			m.changed[i] = 1
		}
		m.lsn = 1
		b.StartTimer()
		if _, err := m.tryBase(b.Context(), false); err != nil {
			b.Fatal(err)
		}
	}
}
