package agent

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/internal/archiver"
)

// archivedUntil waits until everything that was synced on a mounted volume before at is
// archived: a flush behind at is.
func (a *realAgent) archivedUntil(name string, at time.Time) {
	a.t.Helper()
	writeSynced(a.t, filepath.Join(a.inspect(name).GetMountpoint(), "behind"), at.String())
	eventually(a.t, "archiving of "+name, func() bool {
		until := a.inspect(name).GetArchive().GetArchivedUntil()
		return until != nil && until.AsTime().After(at)
	})
}

func (a *realAgent) restoreAt(r *v1.RestoreAtRequest) *v1.RestoreAtResponse {
	a.t.Helper()
	out, err := a.volumes.RestoreAt(a.t.Context(), connect.NewRequest(r))
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Msg
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func wantFile(t *testing.T, file string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, %v; want the %d that were written", filepath.Base(file), len(got), err, len(want))
	}
}

// G5, from outside: a volume is used, restored as it was at a moment under another name,
// cloned, and, when all of the machine is gone, recovered from what the archive has.
func TestRealArchive(t *testing.T) {
	t.Parallel()
	needRoot(t)
	site, password, _ := sharedArchive(t)
	a := startReal(t, t.TempDir(), archiver.FolderURL(site), password)
	a.create("db", map[string]string{"size": "128M"})
	mountpoint := a.attach("db", "a")
	first, second := random(1, 3<<20), random(2, 5<<20)
	writeSynced(t, filepath.Join(mountpoint, "key"), string(first))
	then := time.Now()
	a.archivedUntil("db", then)
	nextSecond(t, then)
	writeSynced(t, filepath.Join(mountpoint, "key"), string(second))
	a.archivedUntil("db", time.Now())

	endOfSecond := then.Truncate(time.Second).Add(time.Second - 1) // its point is the last flush of it
	out := a.restoreAt(&v1.RestoreAtRequest{Name: "db", At: timestamppb.New(endOfSecond), As: "db-then"})
	if v := out.GetVolume(); v.GetOrigin() == "" || v.GetSizeBytes() != 128<<20 {
		t.Errorf("restored %v; want it to say what it comes from", v)
	}
	wantFile(t, filepath.Join(a.attach("db-then", "b"), "key"), first)
	eventually(t, "hydration", func() bool { v := a.inspect("db-then"); return v.GetEngine().GetPid() != 0 && v.GetHydration() == nil })
	a.restoreAt(&v1.RestoreAtRequest{Name: "db", As: "db-clone"})
	wantFile(t, filepath.Join(a.attach("db-clone", "c"), "key"), second)
	for _, name := range []string{"db", "db-then", "db-clone"} {
		eventually(t, "archiving of "+name, func() bool {
			st := a.inspect(name).GetArchive()
			return st.GetArchivedUntil() != nil && st.GetError() == ""
		})
	}
	a.kill()
	sweepAll(t, a.dir)

	b := startReal(t, t.TempDir(), archiver.FolderURL(site), password)
	b.recover(t, 3)
	for i, name := range []string{"db", "db-then", "db-clone"} {
		wantFile(t, filepath.Join(b.attach(name, "a"), "key"), [][]byte{second, first, second}[i])
	}
	writeSynced(t, filepath.Join(b.attach("db", "b"), "more"), "after")
	b.archivedUntil("db", time.Now())
	for _, name := range []string{"db", "db-then", "db-clone"} {
		b.detach(name, "a")
	}
	b.detach("db", "b")
	b.verify(t, "db", "test -s key && test \"$(cat more)\" = after")
}

// verify has the agent restore a volume elsewhere and look at it.
func (a *realAgent) verify(t *testing.T, name, command string) {
	t.Helper()
	stream, err := a.volumes.Verify(t.Context(), connect.NewRequest(&v1.VerifyRequest{Name: name, Command: command}))
	if err != nil {
		t.Fatal(err)
	}
	var result *v1.VerifyResult
	for stream.Receive() {
		if r := stream.Msg().GetResult(); r != nil {
			result = r
		}
	}
	if err := stream.Err(); err != nil || !result.GetOk() {
		t.Errorf("verify %s: %v, %v", name, result, err)
	}
}

// nextSecond waits for the clock: a point is the last flush of a second.
func nextSecond(t *testing.T, after time.Time) {
	t.Helper()
	eventually(t, fmt.Sprintf("the second after %s", after), func() bool { return time.Now().Truncate(time.Second).After(after) })
}

// putAll puts everything that a folder has into a store.
func putAll(t *testing.T, folder, url string) {
	t.Helper()
	to, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from := os.DirFS(folder)
	err = fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return to.Put(t.Context(), name, data)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The archive goes away while a volume fills in: what is missing waits, nothing wrong is
// read, and when the archive is back it goes on. That a wait ends with an error after its
// budget is package volume's to test.
func TestRealArchiveAwayInHydration(t *testing.T) {
	needRoot(t)
	server := s3test.Start(t)
	for _, pair := range server.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value) // the agent has it from here
	}
	folder, password, _ := sharedArchive(t)
	putAll(t, folder, server.URL("away"))
	a := startReal(t, t.TempDir(), server.URL("away"), password)
	a.create("db", map[string]string{"size": "256M"})
	content := random(3, 12<<20)
	writeSynced(t, filepath.Join(a.attach("db", "a"), "key"), string(content))
	a.archivedUntil("db", time.Now())
	eventually(t, "base snapshot", func() bool {
		st := a.inspect("db").GetArchive()
		return st.GetLastSnapshot() != nil && !st.GetSnapshotting()
	})
	a.restoreAt(&v1.RestoreAtRequest{Name: "db", As: "copy"})
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := a.volumes.Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: "copy", Holder: "b"})); err == nil {
		t.Error("a volume was mounted whose first block is in an archive that is away")
	}
	wrote := time.Now()
	writeSynced(t, filepath.Join(a.inspect("db").GetMountpoint(), "more"), "written while the archive is away")
	server.Restart()
	copied := a.attach("copy", "c")
	wantFile(t, filepath.Join(copied, "key"), content)
	eventually(t, "hydration", func() bool { v := a.inspect("copy"); return v.GetEngine().GetPid() != 0 && v.GetHydration() == nil })
	eventually(t, "forgetting the source", func() bool {
		return !exists(filepath.Join(a.dir, volumesDir, a.inspect("copy").GetId(), "source.json"))
	})
	a.archivedUntil("db", wrote)
	a.detach("copy", "c")
	a.detach("db", "a")
}
