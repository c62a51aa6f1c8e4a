package blocks

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// blocksOf is how many blocks a file has, and mostAtOnce how many of them one write has.
const (
	blocksOf   = 512
	mostAtOnce = 16
)

// file is one whose blocks are overwritten in place.
type file struct {
	f      *os.File
	label  string
	id     uint32
	direct bool
}

// openFile opens the file, or makes it: whole and durable before it has its name.
func openFile(dir, name string, id uint32, flags int) (*file, error) {
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeFile(dir, path, blocksOf); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if err != nil {
		return nil, err
	}
	return &file{f: f, label: name, id: id, direct: flags&unix.O_DIRECT != 0}, nil
}

func makeFile(dir, path string, blocks int) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	zeroes := make([]byte, blocks*Size) // written, so that later writes change nothing else
	_, err = f.Write(zeroes)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// aligned is memory for count blocks, as O_DIRECT wants it.
func aligned(count int) ([]byte, func(), error) {
	p, err := unix.Mmap(-1, 0, count*Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { _ = unix.Munmap(p) }, nil // it was mapped
}

func (f *file) name() string { return f.label }
func (f *file) Close() error { return f.f.Close() }

func (f *file) find(found func(int, history.Value)) error {
	p, free, err := aligned(blocksOf)
	if err != nil {
		return err
	}
	defer free()
	if _, err := f.f.ReadAt(p, 0); err != nil {
		return err
	}
	for b := range blocksOf {
		v, err := Read(p[b*Size:(b+1)*Size], f.id, uint32(b))
		if err != nil {
			return fmt.Errorf("%s block %d: %w", f.label, b, err)
		}
		if v != 0 {
			found(b, v)
		}
	}
	return nil
}

func (f *file) write(rng *rand.Rand, v history.Value, begin func(int, int) error) error {
	count := 1 + rng.IntN(mostAtOnce)
	first := rng.IntN(blocksOf - count + 1)
	p, free, err := aligned(count)
	if err != nil {
		return err
	}
	defer free()
	for b := range count {
		Fill(p[b*Size:(b+1)*Size], v, f.id, uint32(first+b))
	}
	if err := begin(first, count); err != nil {
		return err
	}
	if _, err := f.f.WriteAt(p, int64(first)*Size); err != nil {
		return err
	}
	if f.direct {
		return unix.Fdatasync(int(f.f.Fd()))
	}
	return f.f.Sync()
}

func (f *file) read(rng *rand.Rand) (int, history.Value, error) {
	block := rng.IntN(blocksOf)
	p, free, err := aligned(1)
	if err != nil {
		return 0, 0, err
	}
	defer free()
	if _, err := f.f.ReadAt(p, int64(block)*Size); err != nil {
		return 0, 0, err
	}
	v, err := Read(p, f.id, uint32(block))
	if err != nil {
		err = fmt.Errorf("%s block %d: %w", f.label, block, err)
	}
	return block, v, err
}
