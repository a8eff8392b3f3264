package naming

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
)

func TestATemplateNamesWhatTheArgumentsSay(t *testing.T) {
	for _, c := range []struct{ name, template, args, want string }{
		{"two arguments", "repo:forge/{owner}/{repo}", `{"owner":"acme","repo":"pay.ments"}`, "repo:forge/acme/pay.ments"},
		{"an integer", "pipeline:forge/{run}", `{"run":42}`, "pipeline:forge/42"},
		{"the largest integer", "pipeline:forge/{run}", `{"run":-9007199254740992}`, "pipeline:forge/-9007199254740992"},
		{"a member of an object", "repo:forge/{at.owner}/{at.repo}", `{"at":{"owner":"a","repo":"b"}}`, "repo:forge/a/b"},
		{"several segments", "repo:forge/{path...}", `{"path":"a/b/c"}`, "repo:forge/a/b/c"},
		{"a slash is no separator", "repo:forge/{repo}", `{"repo":"a/../b"}`, "repo:forge/a%2F..%2Fb"},
		{"an escape stays one", "repo:forge/{repo}", `{"repo":"a%2Fb"}`, "repo:forge/a%252Fb"},
		{"a star is a byte like any other", "repo:forge/{repo}", `{"repo":"**"}`, "repo:forge/%2A%2A"},
		{"letters of other scripts", "repo:forge/{repo}", `{"repo":"ä"}`, "repo:forge/%C3%A4"},
		{"an escaped letter is that letter", "repo:forge/{repo}", `{"repo":"\u0061"}`, "repo:forge/a"},
		{"no argument", "repo:forge/one", `{}`, "repo:forge/one"},
		{"others are left alone", "repo:forge/{a}", `{"a":"x","b":1e999,"A.":null}`, "repo:forge/x"},
		{"case counts", "repo:forge/{a}", `{"A":"y","a":"x"}`, "repo:forge/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tm, err := parseTemplate(c.template)
			if err != nil {
				t.Fatal(err)
			}
			a, err := ParseArguments([]byte(c.args))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tm.resource(a); err != nil || string(got) != c.want {
				t.Fatalf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestWhatTellsNothingCertainIsRefused(t *testing.T) {
	long := strings.Repeat("x", maxSegment+1)
	for _, c := range []struct{ name, template, args string }{
		{"it is missing", "repo:forge/{owner}", `{}`},
		{"it has another case", "repo:forge/{owner}", `{"Owner":"acme"}`},
		{"it is empty", "repo:forge/{owner}", `{"owner":""}`},
		{"it is null", "repo:forge/{owner}", `{"owner":null}`},
		{"it is a list", "repo:forge/{owner}", `{"owner":["a"]}`},
		{"it is an object", "repo:forge/{owner}", `{"owner":{"a":1}}`},
		{"it is true", "repo:forge/{owner}", `{"owner":true}`},
		{"it has a fraction", "repo:forge/{n}", `{"n":1.0}`},
		{"it has an exponent", "repo:forge/{n}", `{"n":1e3}`},
		{"it is minus nothing", "repo:forge/{n}", `{"n":-0}`},
		{"it is beyond 2^53", "repo:forge/{n}", `{"n":9007199254740993}`},
		{"it is beyond all integers", "repo:forge/{n}", `{"n":99999999999999999999}`},
		{"it is a step up", "repo:forge/{owner}", `{"owner":".."}`},
		{"it is where one is", "repo:forge/{owner}", `{"owner":"."}`},
		{"it becomes a step up", "repo:forge/.{owner}", `{"owner":"."}`},
		{"it has a control character", "repo:forge/{owner}", `{"owner":"a\u0000b"}`},
		{"it has a line end", "repo:forge/{owner}", `{"owner":"a\nb"}`},
		{"it has half a surrogate pair", "repo:forge/{owner}", `{"owner":"a\ud800"}`},
		{"it is no text", "repo:forge/{owner}", "{\"owner\":\"a\xff\"}"},
		{"it is too long", "repo:forge/{owner}", `{"owner":"` + long + `"}`},
		{"together they are too long", "repo:forge/{a}/{b}/{c}", `{"a":"` + long[1:] + `","b":"` + long[1:] + `","c":"` + long[1:] + `"}`},
		{"a path with a step up", "repo:forge/{path...}", `{"path":"a/../b"}`},
		{"a path from the root", "repo:forge/{path...}", `{"path":"/a"}`},
		{"a path with nothing in it", "repo:forge/{path...}", `{"path":"a//b"}`},
		{"a path with many parts", "repo:forge/{path...}", `{"path":"` + strings.Repeat("a/", maxSegments) + `a"}`},
		{"the object is none", "repo:forge/{at.owner}", `{"at":"acme"}`},
		{"the member is missing", "repo:forge/{at.owner}", `{"at":{}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tm, err := parseTemplate(c.template)
			if err != nil {
				t.Fatal(err)
			}
			a, err := ParseArguments([]byte(c.args))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tm.resource(a); codeIn(err) != remit.BadRequest {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
	for _, args := range []string{`[]`, `"x"`, `1`, `{`} {
		if _, err := ParseArguments([]byte(args)); codeIn(err) != remit.BadRequest {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, s := range []string{"repo:{", "repo:}", "repo:{}", "repo:{a.}", "repo:{.a}", "repo:{a}}", "repo:{{a}", "repo:{...}"} {
		if tm, err := parseTemplate(s); err == nil {
			t.Errorf("%s is taken for %v", s, tm)
		}
	}
}

// A name that is made of arguments has the segments that its template shows, whatever the arguments are.
func TestNoArgumentMakesANameLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var segs []string
		spread := false
		for i := range rapid.IntRange(1, 4).Draw(t, "segments") {
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				segs = append(segs, "literal")
			case 1:
				segs = append(segs, "x-{a"+fmt.Sprint(i)+"}")
			case 2:
				segs = append(segs, "{a"+fmt.Sprint(i)+"}")
			case 3:
				spread = true
				segs = append(segs, "{a"+fmt.Sprint(i)+"...}")
			}
		}
		args := map[string]string{}
		for i := range segs {
			args["a"+fmt.Sprint(i)] = rapid.OneOf(rapid.StringMatching(`[a-z./%*{}]{0,8}`), rapid.String()).Draw(t, "value")
		}
		raw, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "repo:forge/"+strings.Join(segs, "/"), len(segs)+1, spread, raw)
	})
}

type fataler interface{ Fatalf(string, ...any) }

func check(t fataler, text string, segments int, spread bool, raw []byte) {
	tm, err := parseTemplate(text)
	if err != nil {
		return
	}
	a, err := ParseArguments(raw)
	if err != nil {
		return
	}
	r, err := tm.resource(a)
	if err != nil {
		return
	}
	if _, err := remit.ParseResource(string(r)); err != nil {
		t.Fatalf("%q is no name: %v", r, err)
	}
	got := len(strings.Split(r.Name(), "/"))
	if got != segments && !(spread && got > segments) {
		t.Fatalf("%q has %d segments; its template %q has %d", r, got, text, segments)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("repo:forge/{owner}/{repo}", []byte(`{"owner":"acme","repo":"x/../y"}`))
	f.Add("repo:forge/{path...}", []byte(`{"path":"a/b"}`))
	f.Add("repo:forge/{a.b}", []byte(`{"a":{"b":9007199254740993}}`))
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		_, rest, _ := strings.Cut(text, ":")
		check(t, text, len(strings.Split(rest, "/")), strings.Contains(text, "...}"), raw)
		a, err := ParseArguments(raw)
		if err != nil {
			return
		}
		if tm, err := parseTemplate(text); err == nil {
			_, _ = tm.text(a)
		}
	})
}

func TestStepsAreThoseOfTheArguments(t *testing.T) {
	on := func(action remit.Action, when map[string]string) remit.ToolStep {
		return remit.ToolStep{Action: action, Resource: "repo:forge/{owner}/{repo}", When: when}
	}
	tool := remit.Tool{Name: "s/t", Impact: "write", Steps: []remit.ToolStep{
		on("issue.comment", map[string]string{"method": "comment"}), on("source.propose", map[string]string{"method": "propose", "at.n": "7"}), on("issue.write", map[string]string{"draft": "true"})}}
	for _, c := range []struct {
		name, args string
		want       []remit.Action
		none       bool
		code       remit.Code
	}{
		{"the first", `{"method":"comment","owner":"a","repo":"b"}`, []remit.Action{"issue.comment"}, false, ""},
		{"two", `{"method":"comment","draft":true,"owner":"a","repo":"b"}`, []remit.Action{"issue.comment", "issue.write"}, false, ""},
		{"an integer in an object", `{"method":"propose","at":{"n":7},"owner":"a","repo":"b"}`, []remit.Action{"source.propose"}, false, ""},
		{"half a condition", `{"method":"propose","owner":"a","repo":"b"}`, nil, true, ""},
		{"another value", `{"method":"delete","owner":"a","repo":"b"}`, nil, true, ""},
		{"no argument", `{}`, nil, true, ""},
		{"in another case", `{"method":"Comment","owner":"a","repo":"b"}`, nil, false, remit.BadRequest},
		{"with a space", `{"method":"comment ","owner":"a","repo":"b"}`, nil, false, remit.BadRequest},
		{"in a list", `{"method":["comment"],"owner":"a","repo":"b"}`, nil, false, remit.BadRequest},
		{"a step that cannot be named", `{"method":"comment","owner":"a"}`, nil, false, remit.BadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := ParseArguments([]byte(c.args))
			if err != nil {
				t.Fatal(err)
			}
			got, none, err := Steps(tool, a)
			var actions []remit.Action
			for _, st := range got {
				actions = append(actions, st.Action)
			}
			if codeIn(err) != c.code || none != c.none || !slices.Equal(actions, c.want) {
				t.Fatalf("%v, none %t, %v", actions, none, err)
			}
		})
	}
	if got, none, err := Steps(remit.Tool{Name: "s/t"}, nil); len(got) != 0 || none || err != nil {
		t.Fatalf("a tool without steps has %v, %t, %v", got, none, err)
	}
}

func TestAProbeAsksWithTheArgumentsOfTheCall(t *testing.T) {
	p := remit.ToolProbe{Tool: "issue_read", Arguments: map[string]string{"issue_number": "{n}", "title": "about {at.who}/x", "owner": "acme"}, Contains: "said: {body}"}
	params, contains, err := ProbeCall(p, []byte(`{"n":12,"at":{"who":"../b"},"body":"a \"quoted\" word"}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"arguments":{"issue_number":12,"owner":"acme","title":"about ../b/x"},"name":"issue_read"}`; string(params) != want || contains != `said: a "quoted" word` {
		t.Fatalf("%s\n%s\n%s", params, want, contains)
	}
	for _, bad := range []remit.ToolProbe{{Tool: "t"}, {Tool: "t", Contains: "{missing}"}, {Tool: "t", Contains: "x", Arguments: map[string]string{"a": "{missing}"}}, {Tool: "t", Contains: "x", Arguments: map[string]string{"a": "{"}}} {
		if _, _, err := ProbeCall(bad, []byte(`{}`)); codeIn(err) != remit.BadRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func codeIn(err error) remit.Code {
	var e *remit.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}
