package pack

import (
	"bufio"
	"errors"
	"io"
	"math"
	"os"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// content is the bytes of one object, in memory or in a scratch file.
type content struct {
	mem    []byte
	file   io.ReaderAt
	offset int64
	size   int64
}

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if c.file == nil {
		return copy(p, c.mem[off:]), nil
	}
	return c.file.ReadAt(p, c.offset+off)
}

// scratch is a temporary file that is written from top on. With release it
// serves as a stack, without as a store.
type scratch struct {
	dir   string
	limit int64
	file  *os.File
	top   int64
}

func (s *scratch) writer(size int64) (io.Writer, int64, error) {
	if size > s.limit-s.top {
		return nil, 0, object.Refuse(object.CodeTooLargeJudge, "",
			"resolving the pack needs more than %d bytes of scratch space; "+tellWhole, s.limit)
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "pack-scratch-*")
		if err != nil {
			return nil, 0, err
		}
		s.file = f
		// Where an open file can be removed, no crash leaves it behind.
		os.Remove(f.Name())
	}
	at := s.top
	s.top += size
	return io.NewOffsetWriter(s.file, at), at, nil
}

func (s *scratch) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	os.Remove(s.file.Name())
	s.file = nil
	return err
}

// sink takes the bytes of one object as they come and does what is wanted of
// them: hash, memory, scratch file, or any writer.
type sink struct {
	hash *object.Hasher
	mem  []byte
	keep bool
	out  *bufio.Writer
	left int64
}

var errTooLong = errors.New("its delta produces more bytes than it promises")

func (s *sink) write(p []byte) error {
	if s.left -= int64(len(p)); s.left < 0 {
		return errTooLong
	}
	if s.keep {
		s.mem = append(s.mem, p...)
	}
	if s.hash != nil && !s.keep {
		s.hash.Write(p)
	}
	if s.out != nil {
		_, err := s.out.Write(p)
		return err
	}
	return nil
}

// done ends the object. Bytes in memory are hashed at once: small pieces are
// what deltas come in, and slow to hash.
func (s *sink) done() (object.OID, error) {
	if s.left != 0 {
		return object.OID{}, errors.New("its delta produces fewer bytes than it promises")
	}
	if s.out != nil {
		if err := s.out.Flush(); err != nil {
			return object.OID{}, err
		}
	}
	if s.hash == nil {
		return object.OID{}, nil
	}
	if s.keep {
		s.hash.Write(s.mem)
	}
	return s.hash.Sum()
}

type deltaSource interface {
	io.Reader
	io.ByteReader
}

// applyDelta writes what the delta in r makes of base: gitformat-pack(5),
// "Deltified representation". It reads r to its end. block is room to copy
// with and at least 64 KiB.
func applyDelta(r deltaSource, base *content, to *sink, block []byte) error {
	baseSize, err := readDeltaSize(r)
	if err != nil {
		return err
	}
	if baseSize != base.size {
		return errors.New("its delta is for a base of another size")
	}
	size, err := readDeltaSize(r)
	if err != nil {
		return err
	}
	if size != to.left {
		return errors.New("its delta promises another size than before")
	}
	for {
		op, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if op == 0 {
			return errors.New("its delta holds the reserved instruction 0")
		}
		if op&0x80 == 0 {
			insert := block[:op]
			if _, err := io.ReadFull(r, insert); err != nil {
				return errors.New("its delta ends within an instruction")
			}
			if err := to.write(insert); err != nil {
				return err
			}
			continue
		}
		offset, n, err := readCopy(r, op)
		if err != nil {
			return err
		}
		if offset+n > base.size {
			return errors.New("its delta copies from beyond its base")
		}
		if base.file == nil {
			if err := to.write(base.mem[offset : offset+n]); err != nil {
				return err
			}
			continue
		}
		for n > 0 {
			part := block[:min(n, int64(len(block)))]
			if _, err := base.ReadAt(part, offset); err != nil {
				return err
			}
			if err := to.write(part); err != nil {
				return err
			}
			offset, n = offset+int64(len(part)), n-int64(len(part))
		}
	}
}

// readCopy reads the operands of a copy instruction.
func readCopy(r io.ByteReader, op byte) (offset, n int64, err error) {
	for bit := range 7 {
		if op>>bit&1 == 0 {
			continue
		}
		b, err := r.ReadByte()
		if err != nil {
			return 0, 0, errors.New("its delta ends within an instruction")
		}
		if bit < 4 {
			offset |= int64(b) << (8 * bit)
		} else {
			n |= int64(b) << (8 * (bit - 4))
		}
	}
	if n == 0 {
		n = 0x10000
	}
	return offset, n, nil
}

// spoolReader inflates single entries of the spool.
type spoolReader struct {
	spool   io.ReaderAt
	buf     *bufio.Reader
	inflate io.ReadCloser
	plain   *bufio.Reader
}

// open gives the inflated stream of an entry. It ends with io.EOF only if the
// checksum of the zlib stream fits.
func (s *spoolReader) open(e *entry) (*bufio.Reader, error) {
	start := e.offset + int64(e.header)
	section := io.NewSectionReader(s.spool, start, math.MaxInt64-start)
	if s.buf == nil {
		s.buf = bufio.NewReaderSize(nil, 8<<10)
		s.plain = bufio.NewReaderSize(nil, 8<<10)
	}
	s.buf.Reset(section)
	z, err := resetZlib(s.inflate, s.buf)
	if err != nil {
		return nil, err
	}
	s.inflate = z
	s.plain.Reset(z)
	return s.plain, nil
}

// copyWhole passes an entry that is not a delta to a sink.
func (s *spoolReader) copyWhole(e *entry, to *sink, block []byte) error {
	r, err := s.open(e)
	if err != nil {
		return err
	}
	for {
		n, err := r.Read(block)
		if err := to.write(block[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
