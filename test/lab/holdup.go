package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Many kernels come without netem, which delays packets. What is slow takes a detour
// through this program instead: a device of the router from which packets are read, and
// to which they are written back when their time has come.
const (
	heldDevice = "held"
	heldMark   = "77"
	holdScript = `
		ip link set "$1" up
		ip route add default dev "$1" table "$2"
		ip rule add fwmark "$2" lookup "$2"`
)

// route is what a packet says of where it comes from and goes to.
type route struct{ from, to netip.Addr }

// holdUp delays packets. It owns a goroutine that reads, and one for each slow route,
// which close ends.
type holdUp struct {
	tun  *os.File
	work sync.WaitGroup

	mu     sync.Mutex // guards what follows
	lanes  map[route]*lane
	closed bool
}

// lane is the packets of one route that are on their way, in order.
type lane struct {
	packets chan heldPacket

	mu    sync.Mutex // guards what follows
	fault Fault
	free  time.Time // when the last packet has left, at the lane's rate
}

type heldPacket struct {
	data []byte
	due  time.Time
}

// What can be on its way on one route: as in a router, what does not fit is lost.
const (
	heldPackets  = 4000
	longestQueue = 300 * time.Millisecond // of what waits for its turn
)

func startHoldUp(ns *namespaces) (*holdUp, error) {
	h := &holdUp{lanes: map[route]*lane{}}
	err := ns.within(func() (err error) {
		h.tun, err = openTun(heldDevice)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a device to hold packets: %w", err)
	}
	h.work.Go(h.read)
	return h, nil
}

func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// close lets go of every packet, and ends.
func (h *holdUp) close() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	h.closed = true
	for _, l := range h.lanes {
		close(l.packets)
	}
	err := h.tun.Close()
	h.mu.Unlock()
	h.work.Wait()
	return err
}

// set says what is slow from now on.
func (h *holdUp) set(slow map[route]Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, f := range slow {
		if h.lanes[r] == nil {
			l := &lane{packets: make(chan heldPacket, heldPackets)}
			h.lanes[r] = l
			h.work.Go(func() { h.release(l) })
		}
		h.lanes[r].set(f)
	}
	for r, l := range h.lanes {
		if _, ok := slow[r]; !ok {
			l.set(Fault{})
		}
	}
}

func (h *holdUp) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return // closed
		}
		h.take(buf[:n])
	}
}

// take puts a packet into its lane, where there is one.
func (h *holdUp) take(packet []byte) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return // nobody here sends such
	}
	r := route{netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lanes[r]
	if l == nil || h.closed {
		return
	}
	due, ok := l.due(len(packet))
	if !ok {
		return
	}
	select {
	case l.packets <- heldPacket{append([]byte(nil), packet...), due}:
	default: // lost
	}
}

func (l *lane) set(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

// due is when a packet that comes now arrives, unless it is lost.
func (l *lane) due(size int) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	if l.free.Sub(now) > longestQueue {
		return l.free, false
	}
	if l.fault.Rate > 0 {
		l.free = l.free.Add(time.Duration(int64(size) * int64(time.Second) / l.fault.Rate))
	}
	return l.free.Add(l.fault.Delay), true
}

func (h *holdUp) release(l *lane) {
	for p := range l.packets {
		if wait := time.Until(p.due); wait > 0 && !h.isClosed() {
			time.Sleep(wait) // this is what it is for
		}
		_, _ = h.tun.Write(p.data) // packets may be lost
	}
}

func (h *holdUp) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}
