package docker

import (
	"strconv"
	"testing"
)

// backend is a volume driver that the contract is held against.
type backend interface {
	driver() string
	need(t *testing.T)
	// held returns how often a volume is held.
	held(t *testing.T, volume string) int
	// removeBehindDocker removes a volume without Docker's knowing.
	removeBehindDocker(t *testing.T, volume string)
	// hold and letGo are somebody else who uses a volume.
	hold(t *testing.T, volume, holder string)
	letGo(t *testing.T, volume, holder string)
}

// onFolders is the scripted driver.
type onFolders struct{ f *folders }

func (onFolders) driver() string    { return "folders" }
func (onFolders) need(t *testing.T) { t.Helper() }

func (b onFolders) held(t *testing.T, volume string) int {
	t.Helper()
	return b.f.held(volume)
}

func (b onFolders) removeBehindDocker(t *testing.T, volume string) {
	t.Helper()
	if err := b.f.Remove(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
}

func (b onFolders) hold(t *testing.T, volume, holder string) {
	t.Helper()
	if _, err := b.f.Attach(t.Context(), volume, holder); err != nil {
		t.Fatal(err)
	}
}

func (b onFolders) letGo(t *testing.T, volume, holder string) {
	t.Helper()
	if err := b.f.Detach(t.Context(), volume, holder); err != nil {
		t.Fatal(err)
	}
}

// onEach runs a test on every driver.
func onEach(t *testing.T, test func(t *testing.T, e engine, b backend)) {
	for _, b := range []backend{onFolders{shared.folders}, onAgent{shared.machine}} {
		t.Run(b.driver(), func(t *testing.T) {
			e := newEngine(t)
			b.need(t)
			test(t, e, b)
		})
	}
}

// wantHeld waits until a volume is held so often: Docker lets go of a container's
// volumes a while after it has said that the container has ended.
func wantHeld(t *testing.T, b backend, volume string, want int) {
	t.Helper()
	eventually(t, "volume "+volume+" is held "+strconv.Itoa(want)+" times", func() bool {
		return b.held(t, volume) == want
	})
}
