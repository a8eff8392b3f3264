package envelope

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func call1(params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestWhatTwoParsersReadInTwoWaysIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"a member twice":                {`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, InvalidRequest},
		"a member in another case":      {`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`, InvalidRequest},
		"only in another case":          {`{"jsonrpc":"2.0","id":1,"Method":"tools/call"}`, InvalidRequest},
		"a member escaped":              {`{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}`, InvalidRequest},
		"a long s":                      {`{"jsonrpc":"2.0","id":1,"method":"x","paramſ":{}}`, InvalidRequest},
		"a name twice in params":        {call1(`{"name":"a","name":"b"}`), InvalidRequest},
		"params in another case":        {call1(`{"name":"a","Name":"b"}`), InvalidRequest},
		"arguments in another case":     {call1(`{"name":"a","Arguments":{"x":1}}`), InvalidRequest},
		"arguments twice":               {call1(`{"name":"a","arguments":{},"arguments":{"x":1}}`), InvalidRequest},
		"an argument twice":             {call1(`{"name":"a","arguments":{"x":1,"x":2}}`), InvalidRequest},
		"an argument in another case":   {call1(`{"name":"a","arguments":{"repo":1,"Repo":2}}`), InvalidRequest},
		"deep in arguments":             {call1(`{"name":"a","arguments":{"x":[{"y":{"a":1,"A":2}}]}}`), InvalidRequest},
		"the Kelvin sign":               {call1(`{"name":"a","arguments":{"k":1,"K":2}}`), InvalidRequest},
		"in _meta":                      {call1(`{"name":"a","_meta":{"v":1,"v":2}}`), InvalidRequest},
		"half a surrogate pair":         {call1(`{"name":"a","arguments":{"x":"\ud800"}}`), InvalidRequest},
		"the wrong halves":              {call1(`{"name":"a","arguments":{"x":"\udc00\ud800"}}`), InvalidRequest},
		"a large number":                {call1(`{"name":"a","arguments":{"x":9007199254740993}}`), InvalidParams},
		"a large negative number":       {call1(`{"name":"a","arguments":{"x":[-9007199254740993]}}`), InvalidParams},
		"a number written with E":       {call1(`{"name":"a","arguments":{"x":1e16}}`), InvalidParams},
		"a number with a fraction":      {call1(`{"name":"a","arguments":{"x":9007199254740993.0}}`), InvalidParams},
		"a number that is infinite":     {call1(`{"name":"a","arguments":{"x":1e999}}`), InvalidParams},
		"nested too deep":               {call1(`{"name":"a","arguments":{"x":` + nested(64) + `}}`), ParseError},
		"no UTF-8":                      {call1("{\"name\":\"a\xff\"}"), ParseError},
		"a batch":                       {`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, InvalidRequest},
		"an empty batch":                {` []`, InvalidRequest},
		"two messages":                  {`{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, ParseError},
		"a byte order mark":             {"\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, ParseError},
		"nothing":                       {``, ParseError},
		"a comment":                     {`{"jsonrpc":"2.0","id":1,/**/"method":"ping"}`, ParseError},
		"a comma too many":              {`{"jsonrpc":"2.0","id":1,"method":"ping",}`, ParseError},
		"a number with zeros before":    {`{"jsonrpc":"2.0","id":01,"method":"ping"}`, ParseError},
		"a control character":           {"{\"jsonrpc\":\"2.0\",\"id\":\"a\nb\",\"method\":\"ping\"}", ParseError},
		"another version":               {`{"jsonrpc":"1.0","id":1,"method":"ping"}`, InvalidRequest},
		"no version":                    {`{"id":1,"method":"ping"}`, InvalidRequest},
		"an id that is null":            {`{"jsonrpc":"2.0","id":null,"method":"ping"}`, InvalidRequest},
		"an id with a fraction":         {`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, InvalidRequest},
		"an id that is large":           {`{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, InvalidRequest},
		"an id that is an object":       {`{"jsonrpc":"2.0","id":{},"method":"ping"}`, InvalidRequest},
		"a long id":                     {`{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 300) + `","method":"ping"}`, InvalidRequest},
		"a method that is a number":     {`{"jsonrpc":"2.0","id":1,"method":1}`, InvalidRequest},
		"an empty method":               {`{"jsonrpc":"2.0","id":1,"method":""}`, InvalidRequest},
		"a request that is an answer":   {`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, InvalidRequest},
		"an answer with two":            {`{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, InvalidRequest},
		"an answer without an id":       {`{"jsonrpc":"2.0","result":{}}`, InvalidRequest},
		"nothing of all":                {`{"jsonrpc":"2.0","id":1}`, InvalidRequest},
		"params that are a list":        {call1(`[1]`), InvalidParams},
		"params that are a text":        {call1(`"x"`), InvalidParams},
		"an object that does not end":   {`{"jsonrpc":"2.0","id":1,"method":"ping"`, ParseError},
		"a string that does not end":    {`{"jsonrpc":"2.0","id":"`, ParseError},
		"an escape that is none":        {`{"jsonrpc":"2.0","id":"\x","method":"ping"}`, ParseError},
		"an escape that does not end":   {`{"jsonrpc":"2.0","id":"\u12`, ParseError},
		"a number that is none":         {`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":-}}`, ParseError},
		"a word that is none":           {`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":nul}}`, ParseError},
		"a name without a value":        {`{"jsonrpc"}`, ParseError},
		"a name that is a number":       {`{1:2}`, ParseError},
		"values without a comma":        {`{"jsonrpc":"2.0" "id":1}`, ParseError},
		"elements without a comma":      {`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1 2]}}`, ParseError},
		"a list that ends like a brace": {`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1}}`, ParseError},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FromClient([]byte(c.text))
			var said *ProtocolError
			if !errors.As(err, &said) || said.Code != c.code || said.Status != 400 {
				t.Fatalf("got %v (%+v), want code %d", err, said, c.code)
			}
		})
	}
}

func TestAMessageIsTakenApartWithoutBeingWrittenAnew(t *testing.T) {
	text := ` { "x-unknown" : [1,{"a":9e99}], "jsonrpc":"2.0" , "id" : "\u0061" , "method":"tools/call","params": { "name":"a", "arguments":{"n": 9007199254740992, "z": -1.50, "d":` + nested(58) + `, "s":"\ud83d\ude00\u2028"}, "later":{} } } `
	m, err := FromClient([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Raw) != text || m.Method != "tools/call" || string(m.ID) != `"\u0061"` || m.Key() != IDKey(json.RawMessage(`"a"`)) || !m.Request() ||
		!strings.HasPrefix(string(m.Params), `{ "name"`) || !strings.HasSuffix(string(m.Params), `"later":{} }`) {
		t.Fatalf("%+v", m)
	}
	if m.Key() == IDKey(json.RawMessage(`a`)) || IDKey(json.RawMessage(`1`)) == IDKey(json.RawMessage(`"1"`)) {
		t.Error("a text and a number are one id")
	}
	want := strings.Replace(text, `"\u0061"`, `"remit-1"`, 1)
	if got := m.WithID(json.RawMessage(`"remit-1"`)); string(got) != want || string(m.Raw) != text {
		t.Fatalf("with another id it is %s", got)
	}
	n, err := FromClient([]byte(`{"jsonrpc":"2.0","method":"notifications/x","params":null}`))
	if err != nil || n.Request() || n.Response() || n.Params != nil {
		t.Fatalf("%+v %v", n, err)
	}
	r, err := FromServer([]byte(`{"jsonrpc":"2.0","id":7,"result":{"a":1,"A":2,"n":99999999999999999999,"x":"\ud800"}}`))
	if err != nil || !r.Response() || string(r.Result) != `{"a":1,"A":2,"n":99999999999999999999,"x":"\ud800"}` {
		t.Fatalf("a server's result is not carried as it is: %+v %v", r, err)
	}
	for _, bad := range []string{`{"jsonrpc":"2.0","id":7,"result":{},"Result":{}}`, `{"jsonrpc":"2.0","id":7,"result":{},"method":"sampling/createMessage"}`} {
		if m, err := FromServer([]byte(bad)); err == nil {
			t.Errorf("%s is taken for %+v", bad, m)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{call1(`{"name":"a","arguments":{"x":[1,-2.5e3,"\u00e9\ud83d\ude00",null,true]}}`), `{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","method":"x"}`, `[]`, `{"a":{"b":[{}]}}`, "{\"\\u006b\":1,\"\u212a\":2}", `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scanner{text: text, deepest: 10000}
		if read, valid := s.whole() == nil, json.Valid(text); read != valid {
			t.Fatalf("%q is JSON: %v; the scanner says %v", text, valid, read)
		}
		m, err := FromClient(text)
		if err != nil {
			if m, err := FromServer(text); err == nil && !json.Valid(m.Raw) {
				t.Fatalf("%q is accepted of a server", text)
			}
			return
		}
		var v map[string]json.RawMessage
		if !utf8.Valid(text) || json.Unmarshal(text, &v) != nil {
			t.Fatalf("%q is accepted", text)
		}
		var method string
		if raw, ok := v["method"]; ok && (json.Unmarshal(raw, &method) != nil || method != m.Method) {
			t.Fatalf("the method of %q is %q for one and %q for the other", text, method, m.Method)
		}
		// Go's own parser, which does not care for case, sees no other method.
		var loose struct{ Method string }
		if json.Unmarshal(text, &loose) == nil && loose.Method != m.Method {
			t.Fatalf("the method of %q is %q for a loose parser and %q here", text, loose.Method, m.Method)
		}
		if m.Params != nil {
			var loose struct{ Arguments json.RawMessage }
			_ = json.Unmarshal(m.Params, &loose) // an object
			if string(loose.Arguments) != string(Member(m.Params, "arguments")) {
				t.Fatalf("the arguments of %q are %q for a loose parser", text, loose.Arguments)
			}
		}
		if m.ID != nil && string(m.WithID(m.ID)) != string(text) {
			t.Fatalf("%q does not stay as it is", text)
		}
	})
}
