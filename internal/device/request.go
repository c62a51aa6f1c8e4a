package device

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// A worker's memory: a request is read to requestAt, so that the data of a WRITE
// begins on a page; the data of a READ is put there too, and the answer's header
// before it, so that one write(2) answers.
const (
	headroom  = 4096
	requestAt = headroom - inHeaderSize - ioInSize
	answerAt  = headroom - outHeaderSize
)

// forever is how long the kernel may believe what it was told, in seconds. The
// names never change; a new size is told by fallocate (see growFile). It must be long:
// the kernel answers LOOP_GET_STATUS64 from what it remembers, which is how the
// loop device of a dead server is recognised.
const forever = 1 << 30

// request is one worker's request at a time.
type request struct {
	server *Server
	mem    []byte
}

// serve answers the request of n bytes in r.mem.
func (r *request) serve(n int) {
	head := *view[inHeader](r.mem[requestAt:])
	body := r.mem[requestAt+inHeaderSize : requestAt+n]
	switch head.Opcode {
	case opRead:
		in := *view[ioIn](body)
		n, err := r.server.read(r.mem[headroom:][:in.Size], int64(in.Offset))
		r.answer(head.Unique, err, n)
	case opWrite:
		in := *view[ioIn](body)
		err := r.server.write(body[ioInSize:][:in.Size], int64(in.Offset))
		r.reply(head.Unique, err, bytesOf(&writeOut{Size: in.Size}))
		if s, ok := r.server.store.(Eager); ok && err == nil {
			s.Written()
		}
	case opFsync:
		r.reply(head.Unique, r.server.store.Flush(), nil)
	case opForget, opBatchForget, opInterrupt:
		// Never answered. An interrupted request is answered all the same.
	default:
		out, err := r.server.control(head, body)
		r.reply(head.Unique, err, out)
	}
}

// reply answers with an error or a copy of out.
func (r *request) reply(unique uint64, err error, out []byte) {
	copy(r.mem[headroom:], out)
	r.answer(unique, err, len(out))
}

// answer answers with an error or the n bytes at headroom.
func (r *request) answer(unique uint64, err error, n int) {
	head := outHeader{Unique: unique}
	if err != nil {
		head.Error, n = -int32(errno(err)), 0
	}
	head.Len = uint32(outHeaderSize + n)
	msg := r.mem[answerAt : headroom+n]
	copy(msg, bytesOf(&head))
	// ENOENT: the request was aborted, ENODEV: unmounted. Nobody is left to tell.
	if _, err := unix.Write(r.server.fd, msg); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		r.server.log.Error("cannot answer the kernel", "error", err)
	}
}

// errno is what the kernel is told. The store's own words go to the engine's
// status; a reader or writer has EIO or ENOSPC.
func errno(err error) unix.Errno {
	if e, ok := errors.AsType[unix.Errno](err); ok && (e == unix.ENOSPC || ours(err)) {
		return e
	}
	return unix.EIO
}

// ours says whether err was chosen here, for the kernel.
func ours(err error) bool { _, ok := err.(unix.Errno); return ok } //nolint:errorlint // the bare value is the mark

// read returns fewer bytes only at the end of the file.
func (s *Server) read(p []byte, off int64) (int, error) {
	p = p[:min(int64(len(p)), max(0, s.store.Size()-off))]
	if !aligned(off, int64(len(p))) {
		return s.readUnaligned(p, off)
	}
	n, err := s.store.ReadAt(p, off)
	if err == nil && n != len(p) {
		err = unix.EIO
	}
	return n, err
}

// readUnaligned serves blkid, and people who look at the file with their own tools;
// the loop device reads whole blocks.
func (s *Server) readUnaligned(p []byte, off int64) (int, error) {
	from := off &^ (ballast.BlockSize - 1)
	to := (off + int64(len(p)) + ballast.BlockSize - 1) &^ (ballast.BlockSize - 1)
	whole := make([]byte, to-from)
	if _, err := s.read(whole, from); err != nil {
		return 0, err
	}
	return copy(p, whole[off-from:]), nil
}

func (s *Server) write(p []byte, off int64) error {
	if err := s.checkRange(off, int64(len(p))); err != nil {
		return err
	}
	n, err := s.store.WriteAt(p, off)
	if err == nil && n != len(p) {
		return unix.EIO
	}
	return err
}

func (s *Server) checkRange(off, n int64) error {
	switch {
	case !aligned(off, n), off < 0, n < 0:
		return unix.EINVAL
	case off+n > s.store.Size():
		return unix.EFBIG
	}
	return nil
}

func aligned(off, n int64) bool { return (off|n)&(ballast.BlockSize-1) == 0 }

// control serves everything that is rare.
func (s *Server) control(head inHeader, body []byte) ([]byte, error) {
	switch head.Opcode {
	case opInit:
		return s.init(*view[initIn](body))
	case opLookup:
		return s.lookup(head.NodeID, body)
	case opGetattr:
		return bytesOf(&attrOut{AttrValid: forever, Attr: s.attr(head.NodeID)}), nil
	case opOpen:
		s.open.Add(1)
		return bytesOf(&openOut{OpenFlags: openDirectIO | openParallelDirectWrites}), nil
	case opRelease:
		s.release()
		return nil, nil
	case opOpendir:
		return bytesOf(&openOut{}), nil
	case opReaddir:
		return readdir(*view[ioIn](body)), nil
	case opReleasedir, opDestroy:
		return nil, nil
	case opStatfs:
		blocks := uint64(s.store.Size() / ballast.BlockSize)
		return bytesOf(&statfsOut{Blocks: blocks, Files: 1, Bsize: ballast.BlockSize, Frsize: ballast.BlockSize, NameLen: 255}), nil
	case opFallocate:
		return nil, s.fallocate(*view[fallocateIn](body))
	case opSetattr:
		return nil, unix.EPERM // a volume is grown through its engine
	default: // FLUSH, ACCESS, GETXATTR, LSEEK, …: the kernel does not ask again
		return nil, unix.ENOSYS
	}
}

func (s *Server) init(in initIn) ([]byte, error) {
	if in.Major != protoMajor {
		return nil, unix.EPROTO
	}
	return bytesOf(&initOut{
		Major:               protoMajor,
		Minor:               min(in.Minor, protoMinor),
		MaxReadahead:        in.MaxReadahead,
		Flags:               in.Flags & (initAsyncRead | initBigWrites | initAsyncDIO | initMaxPages),
		MaxBackground:       maxBackground,
		CongestionThreshold: maxBackground,
		MaxWrite:            maxIO,
		MaxPages:            maxIO / ballast.BlockSize,
		TimeGran:            1,
	}), nil
}

func (s *Server) lookup(parent uint64, body []byte) ([]byte, error) {
	name, _, _ := bytes.Cut(body, []byte{0})
	if parent != rootNode || string(name) != FileName {
		return nil, unix.ENOENT
	}
	return bytesOf(&entryOut{NodeID: fileNode, EntryValid: forever, AttrValid: forever, Attr: s.attr(fileNode)}), nil
}

func (s *Server) attr(node uint64) attr {
	if node == rootNode {
		return attr{Ino: rootNode, Mode: unix.S_IFDIR | 0o500, Nlink: 2, Blksize: ballast.BlockSize}
	}
	size := uint64(s.store.Size())
	return attr{Ino: fileNode, Size: size, Blocks: size / 512, Mode: unix.S_IFREG | 0o600, Nlink: 1, Blksize: ballast.BlockSize}
}

func (s *Server) release() {
	if s.open.Add(-1) > 0 {
		return
	}
	select {
	case s.idle <- struct{}{}:
	default: // the last token has not been taken yet
	}
}

// fallocate takes blocks away; room is never reserved, volumes are thin.
func (s *Server) fallocate(in fallocateIn) error {
	off, n := int64(in.Offset), int64(in.Length)
	if err := s.checkRange(off, n); err != nil {
		return err
	}
	switch in.Mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
		return nil // how growFile tells the kernel the size
	case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
		return s.store.Discard(off, n)
	default:
		return unix.EOPNOTSUPP
	}
}

// readdir lists the folder in one answer, so that offset 0 is all there is.
func readdir(in ioIn) []byte {
	if in.Offset != 0 || int(in.Size) < 32 {
		return nil
	}
	type dirent struct {
		Ino, Off   uint64
		Namelen    uint32
		Type       uint32
		PaddedName [8]byte
	}
	d := dirent{Ino: fileNode, Off: 1, Namelen: uint32(len(FileName)), Type: unix.DT_REG}
	copy(d.PaddedName[:], FileName)
	return bytesOf(&d)
}
