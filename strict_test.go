package remit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestStrictJSONEndsWhereTheStackWould(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"a value", `{"a":[1]}`, true},
		{"as deep as may be", `{"a":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, true},
		{"deeper", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, false},
		{"as deep as a stranger likes", strings.Repeat("[", 8<<20), false},
		{"a member twice", `{"a":1,"a":2}`, false},
		{"a member twice, within", `{"a":{"b":1,"B":2}}`, false},
		{"more than a value", `{"a":1} {}`, false},
		{"an unknown member", `{"b":1}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v struct {
				A any `json:"a"`
			}
			if err := remit.DecodeStrict(strings.NewReader(c.text), 16<<20, &v); (err == nil) != c.ok {
				t.Fatalf("%v", err)
			}
		})
	}
}

// FuzzStrict: the walk that looks for members that stand twice takes a text for what encoding/json takes it for, token by
// token: another reading of one byte, and a request could say two things.
func FuzzStrict(f *testing.F) {
	for _, text := range []string{`{"a":1,"b":[1,2,{"c":null}],"d":"x"} `, `{"k":1,"\u212a":2}`, `{"s":1,"ſ":1}`, `{"a":1,"\u0061":2}`, `{"a":"\ud800","a\u0000":1}`,
		"{\"\xff\":1,\"\xfe\":2}", `{"a":{"b":1,"B":2}}`, `{"b":{"b":1}}`, `{"a":1e999}`, `[-1e999]`, `{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"a":1,"A":1}`,
		`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"a":1,"7":1}`, `[]`, `{}`, `1`, `"\""`, `[1,]`, `{"a":1,}`, `{"a" :1}}`, `tru`, `-`, `01`, "\ufeff{}", "",
		strings.Repeat("[", 64) + "1" + strings.Repeat("]", 64), strings.Repeat("[", 65) + "1" + strings.Repeat("]", 65), strings.Repeat("[", 65) + strings.Repeat("]", 65)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got, want any
		var unread json.RawMessage
		err := remit.DecodeKnown(strings.NewReader(text), 1<<20, &got)
		if also := remit.DecodeKnown(strings.NewReader(text), 1<<20, &unread); (also == nil) != (err == nil) {
			t.Fatalf("%q: %v, and where nobody looks into it %v", text, err, also)
		}
		ref := json.NewDecoder(strings.NewReader(text))
		ok := tokens(ref, 0) && json.Unmarshal([]byte(text), &want) == nil
		if _, end := ref.Token(); ok != (err == nil) || ok && !errors.Is(end, io.EOF) {
			t.Fatalf("%q: %v, encoding/json: %v", text, err, ok)
		}
		a, _ := json.Marshal(got)
		if b, _ := json.Marshal(want); ok && !bytes.Equal(a, b) {
			t.Fatalf("%q was read as %s, not as %s", text, a, b)
		}
	})
}

// tokens walks one value with encoding/json.
func tokens(dec *json.Decoder, depth int) bool {
	tok, err := dec.Token()
	if err != nil || depth > 64 {
		return false
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return true
	}
	var seen []string
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil || slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, name.(string)) }) {
				return false
			}
			seen = append(seen, name.(string))
		}
		if !tokens(dec, depth+1) {
			return false
		}
	}
	_, err = dec.Token()
	return err == nil
}
