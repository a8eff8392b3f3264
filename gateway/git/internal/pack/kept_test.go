package pack

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Trees beyond what is kept in memory come back from a scratch file, as they came and as deltas of one another, and
// nothing is read once the pack is closed.
func TestTreesBeyondMemoryAreReadFromDisk(t *testing.T) {
	blob := oidOf(t, object.Blob, []byte("x"))
	var b builder
	var want [][]byte
	at := 0
	for i := range 24 {
		var entries []object.Entry
		for n := range 10_000 {
			entries = append(entries, object.Entry{Mode: object.ModeFile, Name: fmt.Sprintf("f%07d", n), OID: blob})
		}
		entries = append(entries, object.Entry{Mode: object.ModeFile, Name: fmt.Sprintf("g%07d", i), OID: blob})
		body := object.AppendTree(nil, entries)
		if i%2 == 0 {
			at = b.object(object.Tree, body)
		} else { // all of the tree before, but for its last entry
			last := len(body) - 36
			d := append(varint(len(body)), varint(len(body))...)
			for from := 0; from < last; from += 0xffff {
				d = appendCopy(d, from, min(last-from, 0xffff))
			}
			b.offsetDelta(at, append(append(d, 36), body[last:]...))
		}
		want = append(want, body)
	}
	for name, limits := range map[string]Limits{"in memory": {}, "on the stack": {MemoryBytes: 400 << 10}} {
		p, _, err := load(t, b.bytes(), limits, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.store.top == 0 {
			t.Fatalf("%s: nothing was written: the case tests nothing", name)
		}
		for i, body := range want {
			typ, got, err := p.Object(context.Background(), oidOf(t, object.Tree, body))
			if err != nil || typ != object.Tree || !bytes.Equal(got, body) {
				t.Fatalf("%s: tree %d is read with %d bytes, %v", name, i, len(got), err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, len(want) - 1} {
			if _, _, err := p.Object(context.Background(), oidOf(t, object.Tree, want[i])); err == nil {
				t.Errorf("%s: tree %d is read from a closed pack", name, i)
			}
		}
	}
}
