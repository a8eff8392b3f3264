package engine

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/remit-dev/remit"
)

func TestTheTailIsTheEndOfTheLog(t *testing.T) {
	var kept tail
	kept.next = 10 // what was folded at start is not kept
	var all [][]byte
	for i := range 3*tailMost + 7 {
		b := fmt.Append(nil, "entry ", 10+i)
		all = append(all, b)
		kept.add([][]byte{b})
		if len(kept.entries) > 2*tailMost || len(kept.entries) < min(len(all), tailMost) {
			t.Fatalf("%d of %d entries are kept", len(kept.entries), len(all))
		}
	}
	next := remit.EntryIndex(10 + len(all))
	if _, ok := kept.from(9); ok {
		t.Error("it gives what it does not have")
	}
	if got, ok := kept.from(next + 1); !ok || len(got) != 0 {
		t.Error("there is something after the end")
	}
	for _, n := range []remit.EntryIndex{next, next - 1, next - tailMost} {
		got, ok := kept.from(n)
		if !ok || len(got) != int(next-n) {
			t.Fatalf("from %d: %d entries, %v", n, len(got), ok)
		}
		for i, b := range got {
			if !bytes.Equal(b, all[int(n)-10+i]) {
				t.Fatalf("entry %d is %s", int(n)+i, b)
			}
		}
	}
}
