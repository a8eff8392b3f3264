package envelope

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestHeadersRepeatWhatTheSchemaAsksFor(t *testing.T) {
	h := http.Header{}
	Mirror(h, json.RawMessage(`{"properties":{"a":{"x-mcp-header":"A"},"n":{"x-mcp-header":"N"},"b":{"x-mcp-header":"B"},"none":{"x-mcp-header":"None"},"null":{"x-mcp-header":"Null"},
		"in":{"properties":{"c":{"x-mcp-header":"C"}}},"obj":{"x-mcp-header":"Obj"}}}`),
		json.RawMessage(`{"a":"plain","n":-7,"b":true,"null":null,"in":{"c":" zoë\n"},"obj":{"x":1}}`))
	want := http.Header{"Mcp-Param-A": {"plain"}, "Mcp-Param-N": {"-7"}, "Mcp-Param-B": {"true"}, "Mcp-Param-C": {EncodeHeader(" zoë\n")}}
	for k, v := range want {
		if h.Get(k) != v[0] {
			t.Errorf("%s is %q", k, h.Get(k))
		}
	}
	if len(h) != len(want) {
		t.Errorf("%v", h)
	}
	for _, s := range []string{"a", " a", "ä", "=?base64?x?=", "", "a\tb", "\x7f"} {
		c := EncodeHeader(s)
		if decodeHeader(c) != s || strings.TrimSpace(c) != c || strings.ContainsFunc(c, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is written %q", s, c)
		}
	}
}
