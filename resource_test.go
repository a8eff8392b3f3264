package remit_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
)

// segments are few, so that patterns and names meet often.
var segments = rapid.SampledFrom([]string{"a", "b", "ab", "%2F", "*x"[1:]})

func aName(t *rapid.T, what string) string {
	return "repo:" + strings.Join(rapid.SliceOfN(segments, 1, 4).Draw(t, what), "/")
}

func aPattern(t *rapid.T, what string) remit.Pattern {
	return remit.Pattern(aName(t, what) + rapid.SampledFrom([]string{"", "/*", "/**"}).Draw(t, what+" tail"))
}

func TestPatternLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q, r := aPattern(t, "p"), aPattern(t, "q"), aPattern(t, "r")
		name := remit.Resource(aName(t, "name"))
		if _, err := remit.ParsePattern(string(p)); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if _, err := remit.ParseResource(string(name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !p.Contains(p) {
			t.Fatalf("%s does not contain itself", p)
		}
		if p.Contains(q) && q.Contains(r) && !p.Contains(r) {
			t.Fatalf("%s ⊇ %s ⊇ %s", p, q, r)
		}
		if p.Contains(q) && q.Contains(p) && p != q {
			t.Fatalf("%s and %s contain each other", p, q)
		}
		if p.Contains(q) && q.Match(name) && !p.Match(name) {
			t.Fatalf("%s contains %s, which alone covers %s", p, q, name)
		}
		if p.Match(name) != p.Contains(remit.Pattern(name)) {
			t.Fatalf("%s and the name %s", p, name)
		}
		both, ok := p.Intersect(q)
		if (ok && both.Match(name)) != (p.Match(name) && q.Match(name)) {
			t.Fatalf("%s ∩ %s = %s, and %s", p, q, both, name)
		}
		if other, ok2 := q.Intersect(p); ok != ok2 || other != both {
			t.Fatalf("%s ∩ %s hangs on the order", p, q)
		}
		if p.MatchPath(string(name)) != p.Match(name) {
			t.Fatalf("%s and the path %s", p, name)
		}
		deep := remit.Pattern("**/" + strings.TrimPrefix(string(p), "repo:"))
		at := strings.TrimPrefix(string(name), "repo:")
		if deep.MatchPath(at) && !deep.MatchPath("x/"+at) {
			t.Fatalf("%s covers %s, not x/%s", deep, at, at)
		}
	})
}

func TestMatchTable(t *testing.T) {
	for _, r := range []struct {
		pattern remit.Pattern
		path    string
		want    bool
	}{
		{"src/a", "src/a", true}, {"src/a", "src/a/b", false}, {"src/*", "src/a", true}, {"src/*", "src", false}, {"src/*", "src/", false},
		{"src/*", "src/a/b", false}, {"src/**", "src/a/b", true}, {"src/**", "src", false}, {"src/**", "srcs/a", false},
		{"src/*", "src/**", true}, {"src/*", "src/*", true}, {"src/**", "src/a/*", true}, // stars in names are bytes
		{"**/x", "x", true}, {"**/x", "a/b/x", true}, {"**/x", "a/xx", false}, {"**/x/*", "a/x/y", true}, {"**/x/*", "a/x", false},
	} {
		if got := r.pattern.MatchPath(r.path); got != r.want {
			t.Errorf("%s covers %s: %v", r.pattern, r.path, got)
		}
	}
}

func TestNamesAreRefused(t *testing.T) {
	for _, s := range []string{"", "repo", ":a", "repo:", "repo:a//b", "repo:a/", "repo:/a", "repo:.", "repo:a/..", "Repo:a", "repo:a b", "repo:a*", "repo:*", "repo:**",
		"repo:a/*/b", "repo:a%2f", "repo:a%", "repo:a%2", "repo:é", "repo:" + strings.Repeat("a", 512)} {
		if _, err := remit.ParsePattern(s); err == nil {
			t.Errorf("pattern %q is accepted", s)
		}
		if _, err := remit.ParseResource(s); err == nil {
			t.Errorf("resource %q is accepted", s)
		}
	}
	if _, err := remit.ParseResource("repo:a/*"); err == nil {
		t.Error("a resource is no pattern")
	}
	for _, s := range []string{"main", "refs/heads/", "refs/heads/*/x", "refs/heads/a?", "refs/heads/a//b", "refs/notes/x", "refs/heads/../x", "refs/heads/" + strings.Repeat("a", 512)} {
		if _, err := remit.ParseRefPattern(s); err == nil {
			t.Errorf("ref pattern %q is accepted", s)
		}
	}
	for _, s := range []string{"", "*", "**", "/a", "a/", "a/./b", "**/", "a/**/b", "a[b]", `a\b`, "a\x00"} {
		if _, err := remit.ParsePathPattern(s); err == nil {
			t.Errorf("path pattern %q is accepted", s)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"repo:a/b", "repo:a/*", "repo:a/**", "secret:%2F", "x:.."} {
		f.Add(s, "repo:a/b/c")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		p, err := remit.ParsePattern(a)
		q, err2 := remit.ParsePattern(b)
		if err != nil || err2 != nil {
			return
		}
		if both, ok := p.Intersect(q); ok && !(p.Contains(both) && q.Contains(both)) {
			t.Fatalf("%s ∩ %s = %s", p, q, both)
		}
		if r, err := remit.ParseResource(b); err == nil && p.Match(r) != p.Contains(q) {
			t.Fatalf("%s and %s", p, r)
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	good := remit.Statement{Origin: "log.example", Request: "A-1", Approve: true, Effect: remit.Hash([]byte("e")), Card: remit.Hash([]byte("c")), NotAfter: time.Unix(1e9, 0)}
	f.Add(good.Bytes())
	f.Add(bytes.Replace(good.Bytes(), []byte("approve"), []byte("deny"), 1))
	f.Add([]byte("remit vote v1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := remit.ParseStatement(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Bytes(), b) {
			t.Fatalf("%q is read as %q", b, s.Bytes())
		}
	})
}

func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{`{"agent":"a","intent":"b"}`, `{"agent":"a","agent":"b"}`, `{} {}`, `{"x":1}`, `[[[[`, `{"scope":[{"actions":[]}]}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r remit.TaskRequest
		if remit.DecodeStrict(bytes.NewReader(b), 1<<16, &r) != nil {
			return
		}
		if len(b) > 1<<16 || !json.Valid(b) {
			t.Fatalf("%q is accepted", b)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var r2 remit.TaskRequest
		if err := remit.DecodeStrict(bytes.NewReader(again), 1<<20, &r2); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
