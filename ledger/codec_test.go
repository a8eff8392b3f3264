package ledger

import (
	"reflect"
	"strings"
	"testing"
)

// TestTypesWithoutOneEncodingAreRefused: an event that somebody adds with such a member fails its first test, and no log
// has ever an entry of which nobody can tell what it said.
func TestTypesWithoutOneEncodingAreRefused(t *testing.T) {
	type deep struct {
		A []deep `cbor:"1,keyasint"`
	}
	type inner struct {
		A map[string]int `cbor:"1,keyasint"`
	}
	for want, v := range map[string]any{
		"has no integer key in its cbor tag": struct{ A int }{},
		"field struct { A int \"cbor:\\\"x,keyasint\\\"\" }.A": struct {
			A int `cbor:"x,keyasint"`
		}{},
		"a string \"cbor:\\\"1,keyasint\\\"\" }.a has no integer key": struct {
			a string `cbor:"1,keyasint"`
		}{},
		"without keyasint": nil,
		"nests too deep":   deep{},
		"type map[string]int has no place in an event": inner{},
		"type float64 has no place": struct {
			A []float64 `cbor:"1,keyasint"`
		}{},
		"type [2]string has no place": struct {
			A [2]string `cbor:"1,keyasint"`
		}{},
		"type *int has no place": struct {
			A *int `cbor:"1,keyasint"`
		}{},
	} {
		if v == nil {
			want, v = "has no integer key", struct {
				A int `cbor:"1"`
			}{}
		}
		if _, err := codecOf(reflect.TypeOf(v)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v; want %q", v, err, want)
		}
	}
	twice := struct {
		A int `cbor:"1,keyasint"`
		B int `cbor:"1,keyasint"`
	}{}
	if _, err := codecOf(reflect.TypeOf(twice)); err == nil {
		t.Error("two members have one key")
	}
}

// TestASmallIntegerHoldsNoLargeOne: a number that does not fit its member is refused, not cut.
func TestASmallIntegerHoldsNoLargeOne(t *testing.T) {
	type small struct {
		I int8  `cbor:"1,keyasint"`
		U uint8 `cbor:"2,keyasint"`
	}
	c, err := codecOf(reflect.TypeFor[small]())
	if err != nil {
		t.Fatal(err)
	}
	for want, b := range map[string][]byte{
		"":                        {mapHead | 2, 1, negativeHead | 24, 127, 2, uintHead | 24, 255},
		"not an integer in":       {mapHead | 2, 1, negativeHead | 24, 128, 2, 0},
		"member 1 (I)":            {mapHead | 2, 1, uintHead | 24, 128, 2, 0},
		"not an unsigned":         {mapHead | 2, 1, 0, 2, uintHead | 25, 1, 0},
		"missing or out":          {mapHead | 2, 1, 0, 3, 0},
		"stands twice":            {mapHead | 3, 1, 0, 2, 0, 3, 0},
		"member 2 (U) is missing": {mapHead | 1, 1, 0},
		"not a map":               {arrayHead | 2, 1, 0},
	} {
		var v small
		rest, err := c.decode(b, reflect.ValueOf(&v).Elem())
		switch {
		case want == "" && (err != nil || len(rest) > 0 || v != small{-128, 255}):
			t.Errorf("%+v %v", v, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%x: %v, want %q", b, err, want)
		}
	}
}
