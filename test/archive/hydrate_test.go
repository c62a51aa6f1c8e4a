package archive

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
)

// bigSize is how much a restored volume has to fetch: enough to meet it on its way.
const bigSize = 96 << 20

// filling is a volume that was restored, and fills in slowly.
type filling struct {
	*diary
	copied string // where the restored volume is
	big    []byte // what is in its file of that name
	at     int64  // bytes that were missing when it was attached
}

func newFilling(t *testing.T, seed uint64) *filling {
	t.Helper()
	n := newVault(t).machine(t)
	n.do("archive", "init")
	f := &filling{diary: n.newDiary("db", seed), big: make([]byte, bigSize)}
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(f.big) // never fails, says its documentation
	must(t, overwrite(filepath.Join(f.dir, "big"), f.big, 0, len(f.big)))
	f.files["big"] = f.big
	n.archivedSince("db", f.write("all of it").began)
	n.based("db")
	f.pastSecond(f.entries[0].at)
	n.do("volume", "restore", "db", "--at", f.entries[0].moment(), "--as", "copy")
	n.proxy.Do(slowly)
	f.copied = n.attach("copy")
	f.at = n.inspect("copy").Hydration.Missing
	return f
}

// slowly delays what is fetched.
func slowly(r *http.Request) s3test.Rule {
	if r.Method != http.MethodGet {
		return s3test.Rule{}
	}
	return s3test.Rule{Delay: 200 * time.Millisecond}
}

// arrived waits until so many bytes of the volume have come, of those that were missing.
func (f *filling) arrived(share float64) int64 {
	f.t.Helper()
	var missing int64
	f.eventually("a part of the volume to arrive", func() error {
		if missing = f.inspect("copy").Hydration.Missing; float64(missing) > float64(f.at)*(1-share) {
			return fmt.Errorf("%d of %d bytes are missing", missing, f.at)
		}
		return nil
	})
	if missing == 0 {
		f.t.Fatal("everything has arrived, and the test met nothing on its way")
	}
	return missing
}

// complete waits until nothing is missing, and compares everything.
func (f *filling) complete() {
	f.t.Helper()
	f.eventually("the volume to be complete", func() error {
		if h := f.inspect("copy").Hydration; h.Missing > 0 {
			return fmt.Errorf("%d bytes are missing; %s", h.Missing, h.Error)
		}
		return nil
	})
	f.entries[0].compare(f.node, f.copied, "copy")
}

// TestHydrationStoreAway: the store goes away while a restored volume fills in. What is here is
// read and written; what is not, fails after a while with EIO, and is never anything else
// than it was; when the store is back, the application goes on.
func TestHydrationStoreAway(t *testing.T) {
	t.Parallel()
	f := newFilling(t, 5)
	f.readSmall()
	f.arrived(0.1)
	f.proxy.Refuse()
	ends := []int64{bigSize - 4096, bigSize - 4<<20}
	errs := make([]error, len(ends))
	var reading sync.WaitGroup
	for i, at := range ends {
		reading.Go(func() { errs[i] = f.readBig(at) })
	}
	f.eventually("the condition hydration-waits", func() error {
		f.readSmall()
		for name, data := range f.small() { // in place, with what they have
			must(t, overwrite(filepath.Join(f.copied, name), data, 0, fileSize))
		}
		v := f.inspect("copy")
		if v.Hydration.Error == "" {
			return errors.New("it has no error")
		}
		return v.has("hydration-waits")
	})
	reading.Wait()
	for i, err := range errs {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("a read at %d of what is in the store alone, which is away: %v; want EIO", ends[i], err)
		}
	}
	f.well()
	for _, at := range ends {
		f.eventually("the application to go on", func() error { return f.readBig(at) })
	}
	f.complete()
	must(t, overwrite(filepath.Join(f.copied, "new"), f.big, 0, fileSize))
}

// readSmall reads the files that a person would look at first.
func (f *filling) readSmall() {
	f.t.Helper()
	for name, want := range f.small() {
		if got, err := os.ReadFile(filepath.Join(f.copied, name)); err != nil || !bytes.Equal(got, want) {
			f.t.Fatalf("%s has %d bytes that are not those that were written, %v", name, len(got), err)
		}
	}
}

func (f *filling) small() map[string][]byte {
	small := maps.Clone(f.entries[0].files)
	delete(small, "big")
	return small
}

// readBig reads a block of the big file. Wrong bytes are no error that may pass.
func (f *filling) readBig(at int64) error {
	// Past the cache, whose readers ask twice for what could not be read, and wait twice.
	file, err := os.OpenFile(filepath.Join(f.copied, "big"), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer file.Close()                                                                                    // was only read
	p, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // aligned
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(p) }() // ends with the test at the latest
	if _, err := file.ReadAt(p, at); err != nil {
		return err
	}
	if !bytes.Equal(p, f.big[at:at+4096]) {
		f.t.Errorf("at %d the file has other bytes than were written", at)
	}
	return nil
}

// TestHydrationKilled kills the agent and the engine while a restored volume fills in, and
// then again: it goes on where it was.
func TestHydrationKilled(t *testing.T) {
	t.Parallel()
	f := newFilling(t, 6)
	for _, share := range []float64{0.4, 0.7} {
		f.arrived(share)
		f.killAll("copy", "db")
		must(t, f.Agent.Start(t.Context()))
		f.copied = f.attach("copy")
		f.attach("db")
		missing := f.inspect("copy").Hydration.Missing
		t.Logf("%d MiB were missing at first, %d after a kill when %.0f%% had come", f.at>>20, missing>>20, share*100)
		if missing >= f.at {
			t.Errorf("%d bytes are missing, %d were at first: it has begun anew", missing, f.at)
		}
	}
	f.proxy.Do(nil)
	f.complete()
}
