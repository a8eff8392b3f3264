package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func readEvents(text string, limit int) (out []Event, err error) {
	in := &Reader{r: bufio.NewReaderSize(strings.NewReader(text), 16), limit: limit}
	for {
		e, err := in.Next()
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

func TestEventsAreReadAsClientsReadThem(t *testing.T) {
	got, err := readEvents(": ok\n\nevent: message\nid: 7\nretry: 3\ndata: {\"a\":\ndata:1}\n\ndata\n\ndatax: 1\r\n\r\n", 1000)
	if err != io.EOF || len(got) != 4 {
		t.Fatalf("%+v %v", got, err)
	}
	for i, want := range []struct {
		data string
		id   bool
	}{{"", false}, {"{\"a\":\n1}", true}, {"", false}, {"", false}} {
		if string(got[i].Data) != want.data || got[i].HasID != want.id {
			t.Errorf("event %d is %+v", i, got[i])
		}
	}
	if again := got[1].WithData([]byte("x\ny")); string(again) != "event: message\nid: 7\nretry: 3\ndata: x\ndata: y\n\n" {
		t.Errorf("%q", again)
	}
}

func TestAStreamThatClientsCouldReadOtherwiseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"a carriage return alone ends a line for a client": {": x\rdata: {}\n\n", ErrStream},
		"a byte order mark is no part of a name":           {"\ufeffdata: {}\n\n", ErrStream},
		"an event that is too long":                        {"data: " + strings.Repeat("x", 200) + "\n\n", ErrTooLong},
		"an event of too many lines":                       {strings.Repeat("id: 1\n", 40), ErrTooLong},
		"a line that never ends":                           {strings.Repeat("x", 200), ErrTooLong},
		"an event that is cut":                             {"data: {}\n", io.ErrUnexpectedEOF},
		"a line that is cut":                               {"data: {}", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := readEvents(c.text, 100); !errors.Is(err, c.want) || len(got) != 0 {
				t.Fatalf("%+v %v, want %v", got, err, c.want)
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(": ok\n\nevent: message\nid: 7\ndata: {\"a\":\ndata:1}\n\n"))
	f.Add([]byte("data: x\r\n\r\ndata: y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		in := &Reader{r: bufio.NewReaderSize(bytes.NewReader(text), 16), limit: 1 << 16}
		var all []byte
		for {
			e, err := in.Next()
			if err != nil {
				break
			}
			all = append(all, e.Raw...)
			// What is written in the place of an event is read as one event with those data.
			again, err := readEvents(string(e.WithData(e.Data)), 1<<17)
			if err != io.EOF || len(again) != 1 || !bytes.Equal(again[0].Data, e.Data) {
				t.Fatalf("%q is read as %+v, %v", e.WithData(e.Data), again, err)
			}
		}
		if !bytes.HasPrefix(text, all) {
			t.Fatalf("%q does not stay as it is: %q", text, all)
		}
	})
}
