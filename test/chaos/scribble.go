package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast/test/lab"
)

// A scribbler is a user of the volume beside package blocks' one: a program on the primary
// that writes and clears pieces of 512 bytes to 1 MiB, one after the other. Half of them go
// through the filesystem, and begin and end anywhere; half go to the device below it, into
// blocks that a file has reserved and never written, where they are also discarded and
// cleared by the device's own requests. All that it does follows from its seed, so that the
// next one knows what must be there.
const (
	scribbleFile   = 4 << 20 // bytes of each half
	scribbleDevice = 12 << 20
	leastScribble  = 512
	mostScribble   = 1 << 20
)

// kinds of what a scribbler does.
var scribbleKinds = []string{"write", "write below", "zero", "discard", "trim"}

// scribble is one thing that a scribbler does.
type scribble struct {
	kind     string
	off, len int // in the half that it is for
}

// scribbles are all that follows from a seed.
type scribbles struct {
	rng  *rand.Rand
	seed uint64
	n    int
}

func newScribbles(seed uint64) *scribbles {
	return &scribbles{rng: rand.New(rand.NewPCG(seed, 7)), seed: seed}
}

func (s *scribbles) next() scribble {
	s.n++
	size := int(leastScribble * math.Pow(mostScribble/leastScribble, s.rng.Float64()))
	at, dice := s.rng.Float64(), s.rng.IntN(20)
	below := func(kind string) scribble {
		size = (size + 4095) &^ 4095
		return scribble{kind, int(at*float64(scribbleDevice-size)) &^ 4095, size}
	}
	switch {
	case dice < 9:
		return scribble{"write", int(at * float64(scribbleFile-size)), size}
	case dice < 15:
		return below("write below")
	case dice < 17:
		return below("zero")
	case dice < 19:
		return below("discard")
	default:
		return scribble{kind: "trim"}
	}
}

// fill makes what the n-th scribble writes.
func (s *scribbles) fill(p []byte) {
	word := s.seed*0x9e3779b97f4a7c15 + uint64(s.n)<<32
	for i := 0; i < len(p); i += 8 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word+uint64(i)|1<<63)
		copy(p[i:], w[:])
	}
}

// halves is what a scribbler's place holds.
type halves struct{ file, device []byte }

func newHalves() halves { return halves{make([]byte, scribbleFile), make([]byte, scribbleDevice)} }

// do does in memory what a scribbler does.
func (h halves) do(o scribble, all *scribbles) {
	switch o.kind {
	case "write":
		all.fill(h.file[o.off : o.off+o.len])
	case "write below":
		all.fill(h.device[o.off : o.off+o.len])
	case "zero", "discard":
		clear(h.device[o.off : o.off+o.len])
	}
}

// place is where a scribbler works.
type place struct {
	file   *os.File // written through the filesystem
	device *os.File // written below it
	dir    *os.File
	at     int64 // of the reserved blocks on the device
	buf    []byte
}

func openPlace(dir string) (p *place, err error) {
	p = &place{}
	if p.dir, err = os.Open(dir); err != nil {
		return nil, err
	}
	if p.file, err = makeWhole(filepath.Join(dir, "scribbled"), func(f *os.File) error {
		_, err := f.Write(make([]byte, scribbleFile))
		return err
	}); err != nil {
		return nil, err
	}
	reserved, err := makeWhole(filepath.Join(dir, "reserved"), func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), 0, 0, scribbleDevice)
	})
	if err != nil {
		return nil, err
	}
	defer reserved.Close() // only its blocks count
	if p.at, err = whereIs(reserved); err != nil {
		return nil, err
	}
	if p.device, err = deviceOf(dir); err != nil {
		return nil, err
	}
	p.buf, err = unix.Mmap(-1, 0, scribbleDevice, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	return p, err
}

// makeWhole opens a file, or makes it: whole and durable before it has its name.
func makeWhole(path string, fill func(*os.File) error) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if f, err = os.Create(path + ".new"); err != nil {
		return nil, err
	}
	if err := errors.Join(fill(f), f.Sync(), os.Rename(path+".new", path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	return f, err
}

// whereIs returns where a file's blocks are on its device: they must be in one piece.
func whereIs(f *os.File) (int64, error) {
	const fiemap = 0xc020660b // FS_IOC_FIEMAP
	var q struct {
		start, length                uint64
		flags, mapped, count, _      uint32
		logical, physical, extent    uint64
		_                            [2]uint64
		extentFlags                  uint32
		_                            [3]uint32
		logical2, physical2, extent2 uint64
		_                            [2]uint64
		extentFlags2                 uint32
		_                            [3]uint32
	}
	q.length, q.flags, q.count = scribbleDevice, 1 /* sync */, 2
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemap, uintptr(unsafe.Pointer(&q))); errno != 0 {
		return 0, fmt.Errorf("ask where the blocks of %s are: %w", f.Name(), errno)
	}
	end := q.extent
	if q.mapped == 2 && q.physical2 == q.physical+q.extent {
		end += q.extent2
	}
	if q.mapped == 0 || q.logical != 0 || end < scribbleDevice {
		return 0, fmt.Errorf("the blocks of %s are in pieces: %+v", f.Name(), q)
	}
	return int64(q.physical), nil
}

func deviceOf(dir string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/uevent", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(string(text), "DEVNAME=")
	name, _, _ = strings.Cut(name, "\n")
	return os.OpenFile("/dev/"+name, os.O_RDWR|unix.O_DIRECT, 0)
}

// do does one thing, durably.
func (p *place) do(o scribble, all *scribbles) error {
	buf := p.buf[:o.len]
	switch o.kind {
	case "write":
		all.fill(buf)
		if _, err := p.file.WriteAt(buf, int64(o.off)); err != nil {
			return err
		}
		return p.file.Sync()
	case "write below":
		all.fill(buf)
		if _, err := p.device.WriteAt(buf, p.at+int64(o.off)); err != nil {
			return err
		}
	case "zero":
		if err := p.request(unix.BLKZEROOUT, o); err != nil {
			return err
		}
	case "discard":
		if err := p.request(unix.BLKDISCARD, o); err != nil {
			return err
		}
	case "trim":
		return p.trim()
	}
	return p.device.Sync()
}

func (p *place) request(what uintptr, o scribble) error {
	span := [2]uint64{uint64(p.at + int64(o.off)), uint64(o.len)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, p.device.Fd(), what, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return fmt.Errorf("request %#x: %w", what, errno)
	}
	return nil
}

// trim discards all that the filesystem has free.
func (p *place) trim() error {
	span := struct{ start, length, least uint64 }{0, math.MaxUint64, 0}
	const fitrim = 0xc0185879
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, p.dir.Fd(), fitrim, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return fmt.Errorf("trim: %w", errno)
	}
	return nil
}

// read returns what is there.
func (p *place) read() (h halves, err error) {
	h = newHalves()
	if _, err := p.device.ReadAt(p.buf[:scribbleDevice], p.at); err != nil {
		return h, err
	}
	copy(h.device, p.buf)
	_, err = p.file.ReadAt(h.file, 0)
	return h, err
}

// wipe makes it all zeros.
func (p *place) wipe() error {
	if _, err := p.file.WriteAt(make([]byte, scribbleFile), 0); err != nil {
		return err
	}
	return errors.Join(p.file.Sync(), p.request(unix.BLKZEROOUT, scribble{len: scribbleDevice}), p.device.Sync())
}

// differs compares what is there with what must be after done scribbles, of which one more
// may have been done, or a part of it.
func differs(h halves, seed uint64, done int) error {
	all, want := newScribbles(seed), newHalves()
	for range done {
		want.do(all.next(), all)
	}
	then := halves{append([]byte(nil), want.file...), append([]byte(nil), want.device...)}
	last := all.next()
	then.do(last, all)
	for _, half := range []struct {
		name          string
		got, old, new []byte
	}{{"the file", h.file, want.file, then.file}, {"the reserved blocks", h.device, want.device, then.device}} {
		for i, b := range half.got {
			if b != half.old[i] && b != half.new[i] {
				return fmt.Errorf("byte %d of %s is %#x and must be %#x after %d scribbles of seed %d", i, half.name, b, half.old[i], done, seed)
			}
		}
	}
	return nil
}

// scribbleOn is the scribbler's part of this program: DIR SEED, and the seed of the one
// before and how many things it did, or two zeros. It goes on until something fails.
func scribbleOn(args []string) error {
	var n [3]uint64
	for i, arg := range args[1:] {
		var err error
		if n[i], err = strconv.ParseUint(arg, 10, 64); err != nil {
			return err
		}
	}
	p, err := openPlace(args[0])
	if err != nil {
		return err
	}
	if n[1] != 0 {
		h, err := p.read()
		if err != nil {
			return err
		}
		if err := differs(h, n[1], int(n[2])); err != nil {
			fmt.Println("@differs", err)
			return err
		}
	}
	if err := p.wipe(); err != nil {
		return err
	}
	fmt.Println("@wiped")
	all := newScribbles(n[0])
	for {
		o, began := all.next(), time.Now()
		if err := p.do(o, all); err != nil {
			return fmt.Errorf("%s: %w", o.kind, err)
		}
		time.Sleep(min(2*time.Since(began), 100*time.Millisecond)) // the disk is for others, too
		if _, err := fmt.Println("@did", o.kind); err != nil {
			return err
		}
	}
}

// pour writes so many bytes, a few MiB at a time, over and over to one file.
func pour(dir, bytes string) error {
	left, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "poured"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	p := make([]byte, 4<<20)
	for ; left > 0 && err == nil; left -= int64(len(p)) {
		word := rand.Uint64()
		for i := 0; i < len(p); i += 8 {
			binary.LittleEndian.PutUint64(p[i:], word+uint64(i))
		}
		if _, err = f.WriteAt(p, 0); err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}

// scribbler is one that was heard of.
type scribbler struct {
	seed uint64
	cmd  *exec.Cmd
	gone chan struct{}

	mu      sync.Mutex // guards what follows
	wiped   bool
	did     map[string]int
	done    int
	differs string
	said    string // last
}

func beginScribbler(n *lab.Node, mountpoint string, seed uint64, before *scribbler) (*scribbler, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &scribbler{seed: seed, did: map[string]int{}, gone: make(chan struct{})}
	args := []string{"scribble", mountpoint, strconv.FormatUint(seed, 10), "0", "0"}
	if before != nil && before.wiped {
		args[3], args[4] = strconv.FormatUint(before.seed, 10), strconv.Itoa(before.done)
	}
	s.cmd = n.Command(context.Background(), self, args...)
	s.cmd.Dir = "/"
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout // why it ended
	if err := n.Start(s.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.gone)
		s.hear(out)
		_ = s.cmd.Wait() // how it ended, it has said
	}()
	return s, nil
}

func (s *scribbler) hear(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		s.mu.Lock()
		switch word {
		case "@wiped":
			s.wiped = true
		case "@did":
			s.done++
			s.did[rest]++
		case "@differs":
			s.differs = rest
		default:
			s.said = lines.Text()
		}
		s.mu.Unlock()
	}
}

// heard is what was heard so far: the numbers of all kinds, and what is wrong.
func (s *scribbler) heard() (did map[string]int, wiped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	did = maps.Clone(s.did)
	if s.differs != "" {
		err = fmt.Errorf("%w: %s", errWrong, s.differs)
	}
	return did, s.wiped, err
}

// awaitReady waits until it has found what must be there.
func (s *scribbler) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	return lab.Poll(ctx, "the scribbler to have read", func(context.Context) error {
		_, wiped, err := s.heard()
		if err != nil {
			return lab.Hopeless(err)
		}
		if wiped {
			return nil
		}
		select {
		case <-s.gone:
			s.mu.Lock()
			defer s.mu.Unlock()
			return lab.Hopeless(fmt.Errorf("the scribbler has ended: %s", s.said))
		default:
			return errors.New("not yet")
		}
	})
}

// end ends one, and waits until all that it said was heard.
func (s *scribbler) end(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the scribbler did not end: %w", ctx.Err())
	}
}
