package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

// forms are all ways in which a value may stand in a text: as it is, in hex, and in base64 wherever in a longer text it
// begins (RFC 4648: three bytes become four letters, so there are three), in both alphabets.
func forms(value string) [][]byte {
	lower := hex.EncodeToString([]byte(value))
	out := [][]byte{[]byte(value), []byte(lower), []byte(strings.ToUpper(lower))}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			padded := append(make([]byte, before), value...)
			text := enc.EncodeToString(padded)
			// The first and the last letter may hold bits of what stands beside the value.
			begin, end := []int{0, 2, 3}[before], len(padded)*8/6
			out = append(out, []byte(text[begin:end]))
		}
	}
	return out
}

// leaked tells in which form a value stands in a text.
func leaked(text []byte, value string) (string, bool) {
	for _, f := range forms(value) {
		if i := bytes.Index(text, f); i >= 0 {
			return string(text[max(0, i-60):i]) + "⟨here⟩", true
		}
	}
	return "", false
}

// TestALeakIsFound: the search sees what it is to see.
func TestALeakIsFound(t *testing.T) {
	const value = "Zq0123456789abcdef>?~secret"
	for before := range 5 {
		for after := range 5 {
			text := strings.Repeat("x", before) + value + strings.Repeat("y", after)
			for name, enc := range map[string]func([]byte) string{"plain": func(b []byte) string { return string(b) }, "hex": hex.EncodeToString,
				"base64": base64.StdEncoding.EncodeToString, "base64url": base64.RawURLEncoding.EncodeToString} {
				if _, ok := leaked([]byte("{"+enc([]byte(text))+"}"), value); !ok {
					t.Errorf("%s of a text with %d bytes before it and %d after is not found", name, before, after)
				}
			}
			if _, ok := leaked([]byte(strings.ReplaceAll(text, "secret", "secreT")), value); ok {
				t.Error("what is not there is found")
			}
		}
	}
}

// looksAround has every agent print what it can see of its surroundings.
func (b *breach) looksAround() {
	for name, a := range b.c.agents {
		out, err := a.must("env; export -p; cat /proc/self/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; git config --list; true", true)
		if err != nil || !strings.Contains(out, "REMIT_TASK="+string(a.task)) {
			b.t.Errorf("%s cannot look around: %v\n%s", name, err, out)
		}
		b.hear([]byte(out))
	}
}

// leaks searches everything that was said and kept for every secret.
func (b *breach) leaks() {
	b.t.Helper()
	b.flowed[personsOwn] = true // it is to arrive nowhere
	for name := range b.values {
		if !b.flowed[name] {
			b.t.Errorf("the %s was never used, so its absence says nothing", name)
		}
	}
	upstream := map[string]string{}
	for name, v := range b.values {
		upstream[name] = v
	}
	b.mu.Lock()
	n := 0
	for l := range b.leases {
		parts := strings.Split(l, ".")
		upstream["lease of the registry, signature of "+parts[1][:16]] = parts[2]
		n++
	}
	b.mu.Unlock()
	if n < 2 {
		b.t.Errorf("the registry saw %d leases", n)
	}
	bundle := filepath.Join(b.q.dir, "after.bundle")
	b.must(exportLog(b.ctx, b.c.c, bundle, filepath.Join(b.q.dir, "after.trust")))

	heard := slices.Clone(b.heard.Bytes())
	heard = append(heard, b.q.a.stdout.(*bytes.Buffer).Bytes()...)
	b.mu.Lock()
	var argv []byte
	for line := range b.argv {
		argv = append(append(argv, line...), '\n')
	}
	b.mu.Unlock()
	search := func(where string, text []byte, values map[string]string) {
		for name, v := range values {
			if at, ok := leaked(text, v); ok {
				b.t.Errorf("%s: the %s stands there, after %q", where, name, at)
			}
		}
	}
	own := map[string]string{}
	for _, tok := range b.tokens {
		own["token or secret of an instance or a session, "+remit.Hash([]byte(tok)).String()[:8]] = tok
	}
	search("what was answered and printed", heard, upstream)
	search("a command line", argv, upstream)
	search("a command line", argv, own)

	files, marks := 0, map[string]bool{}
	b.must(filepath.WalkDir(b.q.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(b.q.dir, path)
		files++
		for _, mark := range []string{"Raise the language version", "SQLite format 3", "level=", "Basic realm"} {
			if bytes.Contains(body, []byte(mark)) {
				marks[mark+" in "+rel] = true
			}
		}
		search(rel, body, upstream)
		search(rel, body, own)
		return nil
	}))
	// The search went where it must.
	for _, want := range []string{"Raise the language version in data/log.db", "Raise the language version in after.bundle"} {
		if !marks[want] {
			b.t.Errorf("the search of %d files did not see %q, only %v", files, want, marks)
		}
	}
	b.t.Logf("searched %d files, %d bytes of answers and %d of command lines for %d upstream secrets and %d of Remit's own", files, len(heard), len(argv), len(upstream), len(own))
}
