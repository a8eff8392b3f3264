package ledger_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

var more = flag.Bool("more", false, "add to testdata/leaves.txt the kinds of events that it lacks")

// numbered gives every field another value, so that members which change places are seen.
func numbered(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			numbered(v.Field(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(*n % 256))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		numbered(v.Index(0), n)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n))
	}
}

// TestLeavesThatWereOnceWrittenAreReadAsTheyWereMeant: each line is a kind of event, a leaf of it as some version wrote it,
// and what it says. Events only grow, so no line ever changes; a new kind adds one.
func TestLeavesThatWereOnceWrittenAreReadAsTheyWereMeant(t *testing.T) {
	const golden = "testdata/leaves.txt"
	b, err := os.ReadFile(golden)
	if err != nil && !*more {
		t.Fatal(err)
	}
	had := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(part) != 3 {
			t.Fatalf("no line of three parts: %q", line)
		}
		had[part[0]] = true
		written, err := hex.DecodeString(part[1])
		if err != nil {
			t.Fatalf("%s: %v", part[0], err)
		}
		l, err := ledger.Decode(written)
		if err != nil || l.Event.Kind() != part[0] {
			t.Errorf("%s cannot be read any more: %v", part[0], err)
			continue
		}
		if again, err := ledger.Encode(l); err != nil || hex.EncodeToString(again) != part[1] {
			t.Errorf("%s is written otherwise: %x, %v", part[0], again, err)
		}
		if view, err := ledger.View(l); err != nil || string(view) != part[2] {
			t.Errorf("%s says\n%s, and it said\n%s (%v)", part[0], view, part[2], err)
		}
	}
	for _, kind := range remit.Kinds() {
		if had[kind] {
			continue
		}
		if !*more {
			t.Errorf("no leaf of kind %s is kept: go test ./ledger -run LeavesThatWere -more", kind)
			continue
		}
		e, _ := remit.NewEvent(kind)
		n := 0
		numbered(reflect.ValueOf(e).Elem(), &n)
		l := ledger.Leaf{At: time.Unix(1_790_000_000, 5).UTC(), Command: remit.Digest{7}, Event: e}
		leaf, err := ledger.Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		view, err := ledger.View(l)
		if err != nil {
			t.Fatal(err)
		}
		b = fmt.Appendf(b, "%s %x %s\n", kind, leaf, view)
	}
	if *more {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
