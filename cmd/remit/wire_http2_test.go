package main

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
)

// frames of HTTP/2 (RFC 9113 §6).
const (
	frameData    = 0
	frameHeaders = 1
	frameReset   = 3
	frameSetting = 4
	frameGoAway  = 7
	endStream    = 1
	endHeaders   = 4
)

// shot2 is one request as frames. Headers are written as literals, without Huffman and without a table (RFC 7541 §6.2.2),
// so that any bytes go.
type shot2 struct {
	name    string
	headers [][2]string // in place of the usual ones of the same name; a value of "-" leaves one out
	data    string
	status  string // of the answer: "200"; "4" for any that begins so, empty if the stream is to be reset
}

var http2Shots = []shot2{
	{name: "a good read", status: "200"},
	{name: "the probe", headers: push2("content-length", "4"), data: "0000", status: "200"},
	{name: "more than the length says", headers: push2("content-length", "2"), data: "0000"},
	{name: "less than the length says", headers: push2("content-length", "400"), data: "0000", status: "4|"},
	{name: "a transfer-encoding", headers: push2("transfer-encoding", "chunked"), data: "4\r\n0000\r\n0\r\n\r\n", status: "4|"},
	{name: "a connection header", headers: [][2]string{{"connection", "upgrade"}}, status: "4|"},
	{name: "a header in capitals", headers: [][2]string{{"X-A", "b"}}},
	{name: "a line break in a header", headers: [][2]string{{"x-a", "b\r\ncontent-length: 0"}}},
	{name: "a line break in the path", headers: [][2]string{{":path", "{repo}/info/refs?service=git-upload-pack HTTP/1.1\r\nX: y"}}, status: "4|"},
	{name: "a line break in the method", headers: [][2]string{{":method", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"}}, status: "4|"},
	{name: "two paths", headers: [][2]string{{":path", "{repo}/info/refs?service=git-upload-pack"}, {":path", "/"}}},
	{name: "no path", headers: [][2]string{{":path", "-"}}},
	{name: "a path behind the headers", headers: [][2]string{{":path", "-"}, {"x-a", "b"}, {":path", "/"}}},
	{name: "..%2f", headers: [][2]string{{":path", "{repo}/..%2fother.git/info/refs?service=git-upload-pack"}}, status: "4"},
	{name: "//", headers: [][2]string{{":path", "{repo}//info/refs?service=git-upload-pack"}}, status: "307"},
	{name: "two services", headers: [][2]string{{":path", "{repo}/info/refs?service=git-upload-pack&service=git-receive-pack"}}, status: "4"},
	{name: "CONNECT", headers: [][2]string{{":method", "CONNECT"}, {":path", "-"}, {":scheme", "-"}}, status: "4|"},
}

func push2(name, value string) [][2]string {
	return [][2]string{{":method", "POST"}, {":path", "{repo}/git-receive-pack"}, {"content-type", "application/x-git-receive-pack-request"}, {name, value}}
}

// http2 plays them, each on a connection of its own.
func (w *wire) http2() {
	failed := false
	for _, s := range http2Shots {
		status, err := w.frames(s)
		fits := s.status == "" && status == "reset"
		for want := range strings.SplitSeq(s.status, "|") {
			fits = fits || want != "" && strings.HasPrefix(status, want) || want == "" && status == "reset"
		}
		if err != nil || !fits {
			w.ts.Logf("HTTP/2, %s: %q, %v; want %q", s.name, status, err, s.status)
			failed = true
		}
	}
	if failed {
		w.ts.Fatalf("the server does not hold against HTTP/2")
	}
}

func (w *wire) frames(s shot2) (status string, err error) {
	config := w.tls.Clone()
	config.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", w.host, config)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	given := map[string]bool{}
	for _, h := range s.headers {
		given[h[0]] = true
	}
	var block []byte
	add := func(h [2]string) {
		if h[1] == "-" {
			return
		}
		name, value := h[0], w.words.Replace(h[1])
		block = append(block, 0)
		block = append(hpackLength(block, len(name)), name...)
		block = append(hpackLength(block, len(value)), value...)
	}
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "{host}"}, {":path", "{repo}/info/refs?service=git-upload-pack"}} {
		if !given[h[0]] {
			add(h)
		}
	}
	for _, h := range s.headers {
		add(h)
	}
	add([2]string{"authorization", "Basic {auth}"})
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	out = frame(out, frameSetting, 0, 0, nil)
	last := byte(endStream)
	if s.data != "" {
		last = 0
	}
	out = frame(out, frameHeaders, endHeaders|last, 1, block)
	if s.data != "" {
		out = frame(out, frameData, endStream, 1, []byte(s.data))
	}
	if _, err := c.Write(out); err != nil {
		return "", err
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return "reset", nil // closed
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, body); err != nil {
			return "reset", nil
		}
		switch head[3] {
		case frameReset, frameGoAway:
			return "reset", nil
		case frameHeaders:
			return statusOf(body)
		}
	}
}

// statusOf reads :status, which Go's server writes first: from the static table (RFC 7541 appendix A), or as a literal,
// which Huffman's code would not make shorter.
func statusOf(block []byte) (string, error) {
	static := map[byte]string{0x88: "200", 0x89: "204", 0x8a: "206", 0x8b: "304", 0x8c: "400", 0x8d: "404", 0x8e: "500"}
	if len(block) > 0 && static[block[0]] != "" {
		return static[block[0]], nil
	}
	if len(block) < 5 || block[0] < 0x48 || block[0] > 0x4e || block[1] != 3 {
		return "", fmt.Errorf("no status in %x", block)
	}
	return string(block[2:5]), nil
}

func frame(dst []byte, kind, flags byte, stream uint32, body []byte) []byte {
	dst = append(dst, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)), kind, flags)
	return append(binary.BigEndian.AppendUint32(dst, stream), body...)
}

// hpackLength is a length of at most 7 bits, and above that as RFC 7541 §5.1 continues it.
func hpackLength(dst []byte, n int) []byte {
	if n < 127 {
		return append(dst, byte(n))
	}
	dst, n = append(dst, 127), n-127
	for ; n >= 128; n >>= 7 {
		dst = append(dst, byte(n&127|128))
	}
	return append(dst, byte(n))
}
