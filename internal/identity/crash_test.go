package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// TestPowerCut cuts the power before every operation of every change of the folder in
// turn, several ways each, and asks for I5.
func TestPowerCut(t *testing.T) {
	a := newTestAuthority(t)
	first, second := folderOf(t, a, "n1", time.Hour), folderOf(t, newTestAuthority(t), "n1", time.Hour)
	renewed := first
	renewed.Certificate = mustSign(t, a, first.Key, "n1", 1, 2*time.Hour)
	moved := first
	moved.Cluster.Address = "10.0.0.9:1"
	for _, tt := range []struct {
		name   string
		before *Folder
		change func(disk vfs.FS) error
		after  *Folder
	}{
		{"the first identity", nil, func(d vfs.FS) error { return Save(d, Dir, first) }, &first},
		{"a renewed certificate", &first, func(d vfs.FS) error { return SaveCertificate(d, Dir, renewed.Certificate) }, &renewed},
		{"another address", &first, func(d vfs.FS) error { return SaveCluster(d, Dir, moved.Cluster) }, &moved},
		{"forgetting", &first, func(d vfs.FS) error { return Forget(d, Dir) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { cutEverywhere(t, tt.before, tt.change, tt.after) })
	}
	// Another cluster's: none at the worst, never a mixture.
	t.Run("another identity", func(t *testing.T) {
		cutEverywhere(t, &first, func(d vfs.FS) error {
			if err := Forget(d, Dir); err != nil {
				return err
			}
			return Save(d, Dir, second)
		}, &second, nil)
	})
}

// cutEverywhere asks that after a cut the folder is one of before, after and also.
func cutEverywhere(t *testing.T, before *Folder, change func(vfs.FS) error, after *Folder, also ...*Folder) {
	for cut := 0; ; cut++ {
		disk := crashfs.New()
		if before != nil {
			if err := Save(disk, Dir, *before); err != nil {
				t.Fatal(err)
			}
		}
		left, gone := cut, errors.New("no power")
		disk.FailWith(func(int, string) error {
			if left--; left < 0 {
				return gone
			}
			return nil
		})
		err := change(disk)
		disk.FailWith(nil)
		for seed := range uint64(24) {
			rng := rand.New(rand.NewPCG(uint64(cut), seed))
			got := describe(disk.PowerCut(rng))
			want := append([]*Folder{before, after}, also...)
			if err == nil {
				want = want[1:2]
			}
			if !oneOf(got, want) {
				t.Errorf("cut=%d seed=%d: the folder is %s", cut, seed, got)
			}
		}
		if err == nil {
			return // every operation has had its turn
		}
	}
}

func describe(disk vfs.FS) string {
	c, err := Open(disk, Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	if err != nil {
		return err.Error()
	}
	f, err := Load(disk, Dir)
	return fmt.Sprint(c.Digest(), f.Cluster.Address, string(f.Certificate), err)
}

func oneOf(got string, folders []*Folder) bool {
	for _, f := range folders {
		want := "none"
		if f != nil {
			c, err := newCredentials(*f)
			if err != nil {
				return false
			}
			want = fmt.Sprint(c.Digest(), f.Cluster.Address, string(f.Certificate), error(nil))
		}
		if got == want {
			return true
		}
	}
	return false
}
