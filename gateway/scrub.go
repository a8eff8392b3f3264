package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
)

// Forms are the ways in which servers and commands echo a secret: as it is, escaped for JSON or a URL, in hex and in
// base64, the longest of a kind first. Three bytes become four letters of base64 (RFC 4648 §4), so as a part of a longer
// text, such as user:secret, a value has three ways to stand there; of those, letters that also hold bits of its
// neighbours are left out.
func Forms(value []byte) [][]byte {
	if len(value) == 0 {
		return nil
	}
	quoted, err := json.Marshal(string(value))
	if err != nil { // a string has no way to fail
		quoted = nil
	}
	lower := hex.EncodeToString(value)
	forms := [][]byte{value, bytes.Trim(quoted, `"`), []byte(url.QueryEscape(string(value))), []byte(url.PathEscape(string(value))),
		[]byte(lower), bytes.ToUpper([]byte(lower)), []byte(base64.StdEncoding.EncodeToString(value)), []byte(base64.URLEncoding.EncodeToString(value))}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, []byte(enc.EncodeToString(value)))
		for before, begin := range []int{0, 2, 3} {
			text := append(make([]byte, before), value...)
			if end := len(text) * 8 / 6; begin < end {
				forms = append(forms, []byte(enc.EncodeToString(text)[begin:end]))
			}
		}
	}
	return forms
}
