package ledger

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// View is the generated JSON view of a leaf for people, one line: times in RFC 3339, digests and bytes in hex, members in
// the order of their declaration. It is not what is signed, and nothing reads it back.
func View(l Leaf) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"schema":`)
	writeJSON(&b, Schema)
	b.WriteString(`,"kind":`)
	writeJSON(&b, l.Event.Kind())
	b.WriteString(`,"time":`)
	writeJSON(&b, l.At.UTC().Format(time.RFC3339Nano))
	if !l.Command.IsZero() {
		b.WriteString(`,"command":`)
		writeJSON(&b, l.Command.String())
	}
	b.WriteString(`,"event":`)
	if err := viewValue(&b, reflect.ValueOf(l.Event).Elem()); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, v any) error {
	text, err := json.Marshal(v)
	b.Write(text)
	return err
}

func viewValue(b *bytes.Buffer, v reflect.Value) error {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		return writeJSON(b, m)
	}
	switch v.Kind() {
	case reflect.Struct:
		return viewStruct(b, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return writeJSON(b, hex.EncodeToString(v.Bytes()))
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := viewValue(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	return writeJSON(b, v.Interface())
}

func viewStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if strings.Contains(f.Tag.Get("cbor"), ",omit") && v.Field(i).IsZero() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			name = snake(f.Name)
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		writeJSON(b, name)
		b.WriteByte(':')
		if err := viewValue(b, v.Field(i)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// snake writes MayRequest as may_request and OPA as opa.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
