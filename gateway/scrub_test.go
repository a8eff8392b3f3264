package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway"
)

// TestFormsOfASecretAreFound: whatever stands beside a secret, an encoding of the whole has one of its forms in it.
func TestFormsOfASecretAreFound(t *testing.T) {
	encodings := map[string]func(string) string{
		"plain": func(s string) string { return s },
		"JSON":  func(s string) string { b, _ := json.Marshal(s); return string(b) },
		"query": url.QueryEscape, "path": url.PathEscape,
		"hex": func(s string) string { return hex.EncodeToString([]byte(s)) }, "HEX": func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"base64":           func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64, unpadded": func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
		"base64url":        func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	}
	for _, value := range []string{"s3cr", "hunter2hunter", "pa\"ss wörd/%+?>~", "0123456789abcdef"} {
		for name, encode := range encodings {
			for before := range 4 {
				for after := range 4 {
					text := encode(strings.Repeat("u", before) + value + strings.Repeat("x", after))
					found := false
					for _, f := range gateway.Forms([]byte(value)) {
						found = found || len(f) >= 4 && bytes.Contains([]byte(text), f)
					}
					if !found {
						t.Errorf("%q in %s, %d bytes before it and %d after, is not found in %s", value, name, before, after, text)
					}
				}
			}
		}
		for _, f := range gateway.Forms([]byte(value)) {
			if bytes.Contains([]byte("nothing of it: "+strings.Repeat("AAAA", 40)), f) {
				t.Errorf("the form %q of %q is found where it is not", f, value)
			}
		}
	}
	if gateway.Forms(nil) != nil {
		t.Error("nothing has a form")
	}
}
