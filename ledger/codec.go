package ledger

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// This is the part of deterministic CBOR (RFC 8949 §4.2.1) that events need: integers, booleans, texts, byte strings,
// arrays, and maps with small unsigned keys; no floats, tags, nulls or indefinite lengths. A decoder that accepts
// nothing but the one encoding needs no second pass that encodes again and compares, so folding and verifying are the
// same code. Tests compare it with an independent implementation.

// codec encodes and decodes values of one type.
type codec struct {
	encode func([]byte, reflect.Value) ([]byte, error)
	decode func([]byte, reflect.Value) ([]byte, error) // returns the rest
	empty  func(reflect.Value) bool                    // nil: may not be left out
}

var codecs sync.Map // reflect.Type → *codec

// codecOf gives the codec of a type; types are few and fixed.
func codecOf(t reflect.Type) (*codec, error) {
	if c, ok := codecs.Load(t); ok {
		return c.(*codec), nil
	}
	c, err := compile(t, 0)
	if err != nil {
		return nil, err
	}
	codecs.Store(t, c)
	return c, nil
}

// maxDepth bounds how deep types nest; it stops a type that contains itself.
const maxDepth = 8

func compile(t reflect.Type, depth int) (*codec, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("type %v nests too deep", t)
	}
	switch t.Kind() {
	case reflect.String:
		return stringCodec, nil
	case reflect.Bool:
		return boolCodec, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intCodec, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintCodec, nil
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return arrayCodec(t.Len()), nil
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return bytesCodec, nil
		}
		elem, err := compile(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		return sliceCodec(t, elem), nil
	case reflect.Struct:
		return compileStruct(t, depth)
	}
	return nil, fmt.Errorf("type %v has no place in an event", t)
}

type member struct {
	key   uint64
	index int
	omit  bool
	name  string
	*codec
}

func compileStruct(t reflect.Type, depth int) (*codec, error) {
	var members []member
	required := 0
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		n, err := strconv.ParseUint(key, 10, 16)
		if err != nil || !f.IsExported() || !strings.HasPrefix(options+",", "keyasint,") {
			return nil, fmt.Errorf("field %v.%s has no integer key in its cbor tag", t, f.Name)
		}
		c, err := compile(f.Type, depth+1)
		if err != nil {
			return nil, fmt.Errorf("field %v.%s: %w", t, f.Name, err)
		}
		m := member{n, i, strings.Contains(options, ",omit"), f.Name, c}
		if m.omit && c.empty == nil {
			return nil, fmt.Errorf("field %v.%s cannot be left out", t, f.Name)
		}
		if !m.omit {
			required++
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int { return int(a.key) - int(b.key) })
	for i := 1; i < len(members); i++ {
		if members[i].key == members[i-1].key {
			return nil, fmt.Errorf("two fields of %v have key %d", t, members[i].key)
		}
	}
	return &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			n := required
			for i := range members {
				if m := &members[i]; m.omit && !m.empty(v.Field(m.index)) {
					n++
				}
			}
			b = appendHead(b, mapHead, uint64(n))
			for i := range members {
				m := &members[i]
				f := v.Field(m.index)
				if m.omit && m.empty(f) {
					continue
				}
				var err error
				if b, err = m.encode(appendHead(b, uintHead, m.key), f); err != nil {
					return b, fmt.Errorf("%s: %w", m.name, err)
				}
			}
			return b, nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, b, ok := takeHead(b, mapHead)
			if !ok {
				return b, fmt.Errorf("not a map")
			}
			for i := range members {
				m := &members[i]
				key, rest, ok := takeHead(b, uintHead)
				if n == 0 || !ok || key != m.key {
					if !m.omit {
						return b, fmt.Errorf("member %d (%s) is missing or out of order", m.key, m.name)
					}
					continue
				}
				n--
				f := v.Field(m.index)
				var err error
				if b, err = m.decode(rest, f); err != nil {
					return b, fmt.Errorf("member %d (%s): %w", m.key, m.name, err)
				}
				if m.omit && m.empty(f) {
					return b, fmt.Errorf("member %d (%s) is empty, so it is left out", m.key, m.name)
				}
			}
			if n != 0 {
				return b, fmt.Errorf("a member is unknown, stands twice or is out of order")
			}
			return b, nil
		},
		// A struct is empty if all of it is; no list and an empty list are one thing here too.
		empty: func(v reflect.Value) bool {
			for i := range members {
				if m := &members[i]; m.empty != nil && !m.empty(v.Field(m.index)) || m.empty == nil && !v.Field(m.index).IsZero() {
					return false
				}
			}
			return true
		},
	}, nil
}

var (
	stringCodec = &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			s := v.String()
			if !utf8.ValidString(s) {
				return b, fmt.Errorf("a text is UTF-8, not %q", s)
			}
			return append(appendHead(b, textHead, uint64(len(s))), s...), nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, b, ok := takeHead(b, textHead)
			if !ok || n > uint64(len(b)) || !utf8.Valid(b[:n]) {
				return b, fmt.Errorf("not a text")
			}
			v.SetString(string(b[:n]))
			return b[n:], nil
		},
		empty: func(v reflect.Value) bool { return v.Len() == 0 },
	}
	boolCodec = &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			if v.Bool() {
				return append(b, simpleTrue), nil
			}
			return append(b, simpleFalse), nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			if len(b) == 0 || b[0] != simpleTrue && b[0] != simpleFalse {
				return b, fmt.Errorf("neither true nor false")
			}
			v.SetBool(b[0] == simpleTrue)
			return b[1:], nil
		},
		empty: func(v reflect.Value) bool { return !v.Bool() },
	}
	intCodec = &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			if n := v.Int(); n < 0 {
				return appendHead(b, negativeHead, uint64(-1-n)), nil
			}
			return appendHead(b, uintHead, uint64(v.Int())), nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, rest, ok := takeHead(b, uintHead)
			sign := int64(0)
			if !ok {
				n, rest, ok = takeHead(b, negativeHead)
				sign = -1
			}
			if !ok || n > math.MaxInt64 || v.OverflowInt(int64(n)^sign) {
				return b, fmt.Errorf("not an integer in range")
			}
			v.SetInt(int64(n) ^ sign) // ^-1 is -1-n
			return rest, nil
		},
		empty: func(v reflect.Value) bool { return v.Int() == 0 },
	}
	uintCodec = &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) { return appendHead(b, uintHead, v.Uint()), nil },
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, rest, ok := takeHead(b, uintHead)
			if !ok || v.OverflowUint(n) {
				return b, fmt.Errorf("not an unsigned integer in range")
			}
			v.SetUint(n)
			return rest, nil
		},
		empty: func(v reflect.Value) bool { return v.Uint() == 0 },
	}
	bytesCodec = &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			return append(appendHead(b, bytesHead, uint64(v.Len())), v.Bytes()...), nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, b, ok := takeHead(b, bytesHead)
			if !ok || n > uint64(len(b)) {
				return b, fmt.Errorf("not a byte string")
			}
			if n > 0 {
				v.SetBytes(slices.Clone(b[:n]))
			}
			return b[n:], nil
		},
		empty: func(v reflect.Value) bool { return v.Len() == 0 },
	}
)

// arrayCodec is for byte arrays: digests.
func arrayCodec(size int) *codec {
	return &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			b = appendHead(b, bytesHead, uint64(size))
			if v.CanAddr() {
				return append(b, v.Bytes()...), nil
			}
			for i := range size {
				b = append(b, byte(v.Index(i).Uint()))
			}
			return b, nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, b, ok := takeHead(b, bytesHead)
			if !ok || n != uint64(size) || n > uint64(len(b)) {
				return b, fmt.Errorf("not a byte string of %d bytes", size)
			}
			copy(v.Bytes(), b[:n])
			return b[n:], nil
		},
		empty: reflect.Value.IsZero,
	}
}

// sliceCodec: nil and empty are one value; decoding gives nil.
func sliceCodec(t reflect.Type, elem *codec) *codec {
	return &codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			b = appendHead(b, arrayHead, uint64(v.Len()))
			for i := range v.Len() {
				var err error
				if b, err = elem.encode(b, v.Index(i)); err != nil {
					return b, fmt.Errorf("element %d: %w", i, err)
				}
			}
			return b, nil
		},
		decode: func(b []byte, v reflect.Value) ([]byte, error) {
			n, b, ok := takeHead(b, arrayHead)
			if !ok || n > uint64(len(b)) { // an element has at least one byte
				return b, fmt.Errorf("not an array")
			}
			if n == 0 {
				return b, nil
			}
			s := reflect.MakeSlice(t, int(n), int(n))
			for i := range int(n) {
				var err error
				if b, err = elem.decode(b, s.Index(i)); err != nil {
					return b, fmt.Errorf("element %d: %w", i, err)
				}
			}
			v.Set(s)
			return b, nil
		},
		empty: func(v reflect.Value) bool { return v.Len() == 0 },
	}
}

// Initial bytes of CBOR: major types (RFC 8949 §3.1) and two simple values (§3.3).
const (
	uintHead     = 0 << 5
	negativeHead = 1 << 5
	bytesHead    = 2 << 5
	textHead     = 3 << 5
	arrayHead    = 4 << 5
	mapHead      = 5 << 5
	simpleFalse  = 7<<5 | 20
	simpleTrue   = 7<<5 | 21
)

// appendHead writes an initial byte and its argument in their shortest form, RFC 8949 §4.2.1.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// headSize is the number of bytes that follow an initial byte as its argument; -1 where none is allowed.
func headSize(first byte) int {
	switch info := first & 0x1f; {
	case info < 24:
		return 0
	case info <= 27:
		return 1 << (info - 24)
	}
	return -1
}

// takeHead reads what appendHead writes; ok is false for another major type or a longer form.
func takeHead(b []byte, major byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0xe0 != major {
		return 0, b, false
	}
	size := headSize(b[0])
	if size < 0 || len(b) < 1+size {
		return 0, b, false
	}
	if size == 0 {
		return uint64(b[0] & 0x1f), b[1:], true
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	shortest := [...]uint64{1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}
	return n, b[1+size:], n >= shortest[size]
}

// takeMember reads a key and a text or byte string.
func takeMember(b []byte, key, major byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != key {
		return nil, b, false
	}
	n, rest, ok := takeHead(b[1:], major)
	if !ok || n > uint64(len(rest)) {
		return nil, b, false
	}
	return rest[:n], rest[n:], true
}
