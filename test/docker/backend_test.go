package docker

import "testing"

// backend is a volume driver that the contract is held against.
type backend interface {
	driver() string
	// held returns how often a volume is held.
	held(t *testing.T, volume string) int
	// removeBehindDocker removes a volume without Docker's knowing.
	removeBehindDocker(t *testing.T, volume string)
}

// onFolders is the scripted driver.
type onFolders struct{ f *folders }

func (onFolders) driver() string                         { return "folders" }
func (b onFolders) held(_ *testing.T, volume string) int { return b.f.held(volume) }
func (b onFolders) removeBehindDocker(t *testing.T, volume string) {
	t.Helper()
	if err := b.f.Remove(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
}

// onEach runs a test on every driver.
func onEach(t *testing.T, test func(t *testing.T, e engine, b backend)) {
	for _, b := range []backend{onFolders{shared.folders}} {
		t.Run(b.driver(), func(t *testing.T) { test(t, newEngine(t), b) })
	}
}

// wantHeld waits until a volume is held so often: Docker lets go of a container's
// volumes when it is told of its end.
func wantHeld(t *testing.T, b backend, volume string, want int) {
	t.Helper()
	got := -1
	eventually(t, "volume "+volume+" is held as often as it should be", func() bool {
		got = b.held(t, volume)
		return got == want
	})
}
