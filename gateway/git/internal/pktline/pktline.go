// Package pktline reads and writes what git says over HTTP: pkt-lines (gitprotocol-common(5)), the ref advertisement,
// the commands and the report of a push (gitprotocol-pack(5)), and sidebands.
//
// Every parser is strict and bounded, never panics, and refuses with a *remit.Error whose sentence names the place.
package pktline

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/remit-dev/remit"
)

const (
	// MaxData is the most bytes that one pkt-line carries.
	MaxData = 65516
	zeroOID = "0000000000000000000000000000000000000000"
)

// Kind tells a line of data from the special packets.
type Kind uint8

const (
	Data        Kind = iota
	Flush            // 0000
	Delim            // 0001, protocol version 2
	ResponseEnd      // 0002, protocol version 2
)

var kinds = [...]string{"a line", "a flush packet (0000)", "a delimiter packet (0001)", "a response-end packet (0002)"}

func (k Kind) String() string { return kinds[min(int(k), len(kinds)-1)] }

// Reader reads pkt-lines. It reads ahead; what follows the last line that was wanted is to be read through Rest.
type Reader struct {
	src  *bufio.Reader
	buf  [MaxData]byte
	read int64
}

// NewReader makes a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{src: bufio.NewReaderSize(r, 64<<10)} }

// Offset is how many bytes were taken so far.
func (r *Reader) Offset() int64 { return r.read }

// Rest is what comes behind the lines that were read.
func (r *Reader) Rest() io.Reader { return r.src }

// Next reads one packet. data is good until the next call. At the end of the stream, between packets, err is io.EOF.
func (r *Reader) Next() (kind Kind, data []byte, err error) {
	var head [4]byte
	n, err := io.ReadFull(r.src, head[:])
	r.read += int64(n)
	if err == io.EOF {
		return 0, nil, io.EOF
	}
	if err != nil {
		return 0, nil, r.cut(err)
	}
	size := 0
	for _, c := range head {
		d := hexDigit(c)
		if d < 0 {
			return 0, nil, r.bad("a pkt-line begins with four hexadecimal digits, not %q", head[:])
		}
		size = size<<4 | d
	}
	switch {
	case size == 0:
		return Flush, nil, nil
	case size == 1:
		return Delim, nil, nil
	case size == 2:
		return ResponseEnd, nil, nil
	case size == 3:
		return 0, nil, r.bad("there is no packet %q", head[:])
	case size-4 > MaxData:
		return 0, nil, r.bad("a pkt-line has at most %d bytes, not %d", MaxData, size-4)
	}
	n, err = io.ReadFull(r.src, r.buf[:size-4])
	r.read += int64(n)
	if err != nil {
		return 0, nil, r.cut(err)
	}
	return Data, r.buf[:size-4], nil
}

// Line reads a data packet without the line feed that may end it; ok is false for a flush packet. Other packets and
// the end of the stream are errors.
func (r *Reader) Line() (line []byte, ok bool, err error) {
	kind, data, err := r.Next()
	switch {
	case err == io.EOF:
		return nil, false, r.cut(io.ErrUnexpectedEOF)
	case err != nil:
		return nil, false, err
	case kind == Flush:
		return nil, false, nil
	case kind != Data:
		return nil, false, r.bad("%v has no place here", kind)
	}
	if n := len(data); n > 0 && data[n-1] == '\n' {
		data = data[:n-1]
	}
	return data, true, nil
}

func (r *Reader) bad(format string, args ...any) error {
	return remit.Errorf(remit.BadRequest, "before byte %d: %s", r.read, fmt.Sprintf(format, args...))
}

func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return remit.Errorf(remit.BadRequest, "the stream ends within a pkt-line or before the flush packet, at byte %d: %w", r.read, io.ErrUnexpectedEOF)
	}
	return err
}

// hexDigit is the value of c; git writes lower case and accepts both.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Append adds one pkt-line that carries data, which is cut at MaxData.
func Append(dst []byte, data string) []byte {
	data = data[:min(len(data), MaxData)]
	return append(fmt.Appendf(dst, "%04x", len(data)+4), data...)
}

// AppendFlush adds a flush packet.
func AppendFlush(dst []byte) []byte { return append(dst, "0000"...) }

// AppendDelim adds a delimiter packet.
func AppendDelim(dst []byte) []byte { return append(dst, "0001"...) }

// validOID tells whether s is a SHA-1 in lower case.
func validOID(s string) bool {
	if len(s) != len(zeroOID) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
