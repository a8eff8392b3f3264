package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// An independent implementation of deterministic CBOR, as strict as it goes.
var (
	oracleEnc, _ = cbor.EncOptions{Sort: cbor.SortCoreDeterministic, IndefLength: cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty, TagsMd: cbor.TagsForbidden}.EncMode()
	oracleDec, _ = cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode()
)

// envelope is a leaf as the oracle sees it.
type envelope struct {
	Schema  uint            `cbor:"1,keyasint"`
	Kind    string          `cbor:"2,keyasint"`
	Time    int64           `cbor:"3,keyasint"`
	Command remit.Digest    `cbor:"4,keyasint,omitzero"`
	Event   cbor.RawMessage `cbor:"5,keyasint"`
}

func oracle(t require, l ledger.Leaf) []byte {
	event, err := oracleEnc.Marshal(l.Event)
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	b, err := oracleEnc.Marshal(envelope{ledger.Schema, l.Event.Kind(), l.At.UnixNano(), l.Command, event})
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	return b
}

type require interface{ Fatalf(string, ...any) }

// fill draws a value for every field of an event.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.String:
		v.SetString(rapid.StringN(0, 6, 20).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.SampledFrom([]byte{0, 0, 0, 1, 255}).Draw(t, "byte")))
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 2).Draw(t, "length"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i))
			}
		}
	default:
		t.Fatalf("an event has a %v: give it an encoding", v.Type())
	}
}

func drawLeaf(t *rapid.T) ledger.Leaf {
	e, ok := remit.NewEvent(rapid.SampledFrom(remit.Kinds()).Draw(t, "kind"))
	if !ok {
		t.Fatalf("unknown kind")
	}
	fill(t, reflect.ValueOf(e).Elem())
	l := ledger.Leaf{At: time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "time")).UTC(), Event: e}
	fill(t, reflect.ValueOf(&l.Command).Elem())
	return l
}

func TestEveryLeafReadsBackAndIsWhatAnotherImplementationWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLeaf(t)
		b, err := ledger.Encode(l)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if want := oracle(t, l); !bytes.Equal(b, want) {
			t.Fatalf("encoded\n%x, the oracle\n%x", b, want)
		}
		back, err := ledger.Decode(b)
		if err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("read back %v, %+v, want %+v", err, back, l)
		}
		if v, err := ledger.View(l); err != nil || !json.Valid(v) || bytes.ContainsRune(v, '\n') {
			t.Fatalf("view: %v, %s", err, v)
		}
	})
}

// A reader that knows CBOR and nothing of us: it takes a leaf for maps, arrays, texts and numbers, and writes the same
// bytes again under core deterministic encoding (RFC 8949 §4.2.1), for every kind of event that there is.
func TestALeafOfEveryKindIsPlainDeterministicCBOR(t *testing.T) {
	generic, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		UTF8: cbor.UTF8RejectInvalid}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	strict, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range remit.Kinds() {
		e, _ := remit.NewEvent(kind)
		whole(reflect.ValueOf(e).Elem())
		b, err := ledger.Encode(ledger.Leaf{At: time.Unix(1_790_000_000, 5), Command: remit.Digest{7}, Event: e})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var m map[any]any
		if err := generic.Unmarshal(b, &m); err != nil {
			t.Fatalf("%s: %v\n%x", kind, err, b)
		}
		if again, err := strict.Marshal(m); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x is written again as %x, %v", kind, b, again, err)
		}
		if got := m[uint64(2)]; got != kind || len(m) != 5 {
			t.Errorf("%s: %v", kind, m)
		}
		if members, _ := m[uint64(5)].(map[any]any); len(members) != reflect.TypeOf(e).Elem().NumField() {
			t.Errorf("%s: %d members of %d: %v", kind, len(members), reflect.TypeOf(e).Elem().NumField(), members)
		}
	}
}

// whole gives every field a value that is not zero, lists two elements.
func whole(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			whole(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			whole(v.Index(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		whole(v.Index(0))
		whole(v.Index(1))
	case reflect.String:
		v.SetString("söme")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-300)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(200)
	}
}

func TestAChangedLeafIsReadOnlyIfItIsTheOneEncodingOfSomething(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := ledger.Encode(drawLeaf(t))
		if err != nil {
			t.Fatalf("%v", err)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		canonical(t, b)
	})
}

// canonical: Decode accepts b exactly if the oracle reads it and writes the same bytes again.
func canonical(t require, b []byte) {
	l, err := ledger.Decode(b)
	if err == nil {
		if again, err := ledger.Encode(l); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written again as %x, %v", b, again, err)
		}
		if want := oracle(t, l); !bytes.Equal(want, b) {
			t.Fatalf("%x is read, the oracle writes %x", b, want)
		}
		return
	}
	var env envelope
	if len(b) > ledger.MaxLeaf || oracleDec.Unmarshal(b, &env) != nil || env.Schema != ledger.Schema || env.Time < 0 {
		return
	}
	event, ok := remit.NewEvent(env.Kind)
	if !ok || oracleDec.Unmarshal(env.Event, event) != nil {
		return
	}
	o := oracle(t, ledger.Leaf{At: time.Unix(0, env.Time), Command: env.Command, Event: event})
	if bytes.Equal(o, b) {
		t.Fatalf("%x is refused (%v), but it is the one encoding of %+v", b, err, event)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []remit.Event{
		&remit.Genesis{Org: "acme", Origin: "o", Admins: []remit.ID{"p1"}},
		&remit.Decided{Verdict: remit.Allow, Steps: []remit.StepFacts{{Ref: "r", Old: []byte{1}}}, Effect: remit.Digest{1}},
		&remit.DenialRepeated{Entry: 1 << 40, Count: -7},
	} {
		b, err := ledger.Encode(ledger.Leaf{At: time.Unix(1, 2), Command: remit.Digest{9}, Event: e})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, b) })
}

func TestLeavesThatAreRefused(t *testing.T) {
	good, err := ledger.Encode(ledger.Leaf{At: time.Unix(1, 0), Event: &remit.ClockConfirmed{By: "p1"}})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("%x has no %x", good, old)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	for name, test := range map[string]struct {
		leaf []byte
		want string
	}{
		"nothing":                  {nil, "does not begin"},
		"a newer schema":           {replace("\xa4\x01\x01", "\xa4\x01\x02"), "newer release"},
		"a schema in a long form":  {replace("\xa4\x01\x01", "\xa4\x01\x18\x01"), "schema"},
		"bytes after it":           {append(bytes.Clone(good), 0), "follow"},
		"a member missing":         {replace("\xa1\x01\x62p1", "\xa0"), "missing"},
		"an unknown member":        {replace("\xa1\x01\x62p1", "\xa2\x01\x62p1\x02\x00"), "unknown"},
		"a member twice":           {replace("\xa1\x01\x62p1", "\xa2\x01\x62p1\x01\x62p1"), "twice"},
		"a float":                  {replace("\x62p1", "\xf9\x3c\x00"), "not a text"},
		"an indefinite length":     {replace("\xa1\x01\x62p1", "\xbf\x01\x62p1\xff"), "not a map"},
		"a text that is not UTF-8": {replace("\x62p1", "\x62\xff\xfe"), "not a text"},
		"a length past the end":    {replace("\x62p1", "\x7a\xff\xff\xff\xff"), "not a text"},
		"9 KiB":                    {append(bytes.Clone(good), make([]byte, 9<<10)...), "at most 8192"},
	} {
		if _, err := ledger.Decode(test.leaf); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want a sentence with %q", name, err, test.want)
		}
	}
	_, err = ledger.Decode(replace("clock.confirmed", "clock.dismantle"))
	var unknown *ledger.UnknownKindError
	if !errors.As(err, &unknown) || unknown.Kind != "clock.dismantle" {
		t.Errorf("an unknown kind: %v", err)
	}
	for name, l := range map[string]ledger.Leaf{
		"no event":           {At: time.Unix(1, 0)},
		"a time before 1970": {At: time.Unix(-1, 0), Event: &remit.ClockConfirmed{}},
		"the year 2300":      {At: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), Event: &remit.ClockConfirmed{}},
		"the zero time":      {Event: &remit.ClockConfirmed{}},
		"a nil event":        {At: time.Unix(1, 0), Event: (*remit.ClockConfirmed)(nil)},
		"bytes as text":      {At: time.Unix(1, 0), Event: &remit.ClockConfirmed{By: "\xff"}},
		"too much":           {At: time.Unix(1, 0), Event: &remit.ClockConfirmed{By: remit.ID(strings.Repeat("x", 8192))}},
	} {
		if _, err := ledger.Encode(l); err == nil {
			t.Errorf("encoding %s: done, want an error", name)
		}
	}
}

func TestViewIsForPeople(t *testing.T) {
	l := ledger.Leaf{At: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC), Command: remit.Digest{0xab}, Event: &remit.Decided{
		Verdict: remit.Hold, Code: remit.ImpactHeld, Gateway: "git", NotAfter: 5,
		Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:a/b"}, Old: []byte{0xde, 0xad}, OutsideScope: true}}}}
	got, err := ledger.View(l)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"kind":"decision","time":"2026-03-04T05:06:07.000000008Z","command":"ab` + strings.Repeat("0", 62) + `",` +
		`"event":{"verdict":"hold","code":"IMPACT_HELD","gateway":"git","steps":[{"step":{"action":"source.push","resource":"repo:a/b"},"old":"dead","outside_scope":true}],"not_after":5}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
