package authority

import (
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// maxEvent is the largest event, in bytes of CBOR: an entry has at most 8 KiB, of which its kind, time and command take
// some.
const maxEvent = 8<<10 - 192

// tooLarge names the first event that no entry could hold, if any.
func tooLarge(events []remit.Event) (kind string, size int, ok bool) {
	for _, e := range events {
		if n := sizeOf(reflect.ValueOf(e).Elem()); n > maxEvent {
			return e.Kind(), n, true
		}
	}
	return "", 0, false
}

// sizeOf is how many bytes v takes as deterministic CBOR with the integer keys of its tags (RFC 8949 §4.2.1).
func sizeOf(v reflect.Value) int {
	switch v.Kind() {
	case reflect.String:
		return head(uint64(v.Len())) + v.Len()
	case reflect.Bool:
		return 1
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := v.Int()
		return head(uint64(n ^ n>>63)) // a negative n is encoded as -1-n
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return head(v.Uint())
	case reflect.Array, reflect.Slice:
		n := head(uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return n + v.Len()
		}
		for i := range v.Len() {
			n += sizeOf(v.Index(i))
		}
		return n
	case reflect.Struct:
		n := head(uint64(v.NumField()))
		for i, m := range members[v.Type()] {
			f := v.Field(i)
			if m.omit && (f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0) {
				continue
			}
			n += m.key + sizeOf(f)
		}
		return n
	}
	panic("authority: an event has no member of type " + v.Type().String())
}

// member is how a member of a struct is encoded: the size of its key, and whether it is left out when it is empty.
type member struct {
	key  int
	omit bool
}

// members are those of every struct that can stand in an event, by their places. Every event is measured, and reading the
// tags would take longer than all rules together.
var members = func() map[reflect.Type][]member {
	known := map[reflect.Type][]member{}
	for _, kind := range remit.Kinds() {
		e, _ := remit.NewEvent(kind)
		addMembers(known, reflect.TypeOf(e).Elem())
	}
	return known
}()

func addMembers(known map[reflect.Type][]member, t reflect.Type) {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		addMembers(known, t.Elem())
	case reflect.Struct:
		if known[t] != nil {
			return
		}
		all := make([]member, t.NumField())
		for i := range all {
			key, options, _ := strings.Cut(t.Field(i).Tag.Get("cbor"), ",")
			n, err := strconv.ParseUint(key, 10, 64)
			if err != nil {
				panic("authority: " + t.String() + "." + t.Field(i).Name + " has no key of CBOR")
			}
			all[i] = member{key: head(n), omit: strings.Contains(options, "omit")}
			addMembers(known, t.Field(i).Type)
		}
		known[t] = all
	}
}

// head is the size of an initial byte with its argument.
func head(n uint64) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<32:
		return 5
	}
	return 9
}

// plain tells whether s can stand in an entry as a name: UTF-8, not empty, at most max bytes, no control characters.
func plain(s string, max int) bool {
	return s != "" && len(s) <= max && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
