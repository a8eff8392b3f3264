package object

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	oidA = "1111111111111111111111111111111111111111"
	oidB = "2222222222222222222222222222222222222222"
	who  = "A U Thor <author@example.org> 1700000000 +0100"
)

func mustOID(t testing.TB, s string) OID {
	t.Helper()
	o, err := ParseOID(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || e.Sentence == "" {
		t.Fatalf("got %v, want code %s with a sentence", err, code)
	}
}

func TestParseOID(t *testing.T) {
	o := mustOID(t, "00112233445566778899aabbccddeeff00112233")
	if o.String() != "00112233445566778899aabbccddeeff00112233" || o.IsZero() {
		t.Fatalf("round trip gives %s", o)
	}
	for name, s := range map[string]string{
		"upper case":     "00112233445566778899AABBCCDDEEFF00112233",
		"short":          "00112233",
		"long":           strings.Repeat("0", 64),
		"not hex":        strings.Repeat("g", 40),
		"sign and space": "+" + strings.Repeat("0", 39),
		"empty":          "",
	} {
		if _, err := ParseOID(s); err == nil {
			t.Errorf("%s: %q is accepted", name, s)
		}
	}
}

func TestParseCommit(t *testing.T) {
	good := "tree " + oidA + "\nparent " + oidB + "\nauthor " + who + "\ncommitter " + who + "\n"
	c, err := ParseCommit([]byte(good + "encoding latin1\ngpgsig -----BEGIN\n abc\n \n -----END\nx-other 1\n\nsubject\n\nbody\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tree != mustOID(t, oidA) || len(c.Parents) != 1 || c.Parents[0] != mustOID(t, oidB) ||
		c.Signature != "-----BEGIN\nabc\n\n-----END" || c.Message != "subject\n\nbody\n" ||
		c.Author != (Ident{"A U Thor", "author@example.org", 1700000000, "+0100"}) {
		t.Fatalf("parsed %+v", c)
	}
	tree, parents, when, err := CommitLinks([]byte(good + "\nmessage"))
	if err != nil || tree != c.Tree || len(parents) != 1 || when != 1700000000 {
		t.Fatalf("links: %v %v %d %v", tree, parents, when, err)
	}
	ident := func(s string) string {
		return "tree " + oidA + "\nauthor " + s + "\ncommitter " + who + "\n\nm"
	}
	for name, text := range map[string]string{
		"empty":                          "",
		"no tree":                        "author " + who + "\n\n",
		"upper-case tree":                "tree " + strings.Repeat("A", 40) + "\nauthor " + who + "\ncommitter " + who + "\n\nm",
		"null tree":                      "tree " + strings.Repeat("0", 40) + "\nauthor " + who + "\ncommitter " + who + "\n\nm",
		"two tree lines together":        "tree " + oidA + "\n" + good + "\nm",
		"second tree line after headers": good + "tree " + oidB + "\n\nm",
		"second parent block":            good + "parent " + oidA + "\n\nm",
		"second author":                  good + "author " + who + "\n\nm",
		"second committer":               good + "committer " + who + "\n\nm",
		"second gpgsig":                  good + "gpgsig a\ngpgsig b\n\nm",
		"same parent twice":              "tree " + oidA + "\nparent " + oidB + "\nparent " + oidB + "\nauthor " + who + "\ncommitter " + who + "\n\nm",
		"no committer":                   "tree " + oidA + "\nauthor " + who + "\n\nm",
		"NUL in the header":              good + "x a\x00b\n\nm",
		"NUL in the message":             good + "\nm\x00m",
		"header line without a value":    good + "justaword\n\nm",
		"header not ended":               strings.TrimSuffix(good, "\n"),
		"continuation first":             " " + good,
		"huge header":                    good + "x " + strings.Repeat("y", maxHeader) + "\n\nm",
		"huge commit":                    good + "\n" + strings.Repeat("y", MaxCommit),
		"no name":                        ident("<a@b> 1 +0000"),
		"no space before the address":    ident("a<a@b> 1 +0000"),
		"no address":                     ident("a 1 +0000"),
		"address not closed":             ident("a <a@b 1 +0000"),
		"two opening brackets":           ident("a <a<b> 1 +0000"),
		"closing bracket in the name":    ident("a> <b> 1 +0000"),
		"no space before the date":       ident("a <b>1 +0000"),
		"zero-padded date":               ident("a <b> 01 +0000"),
		"negative date":                  ident("a <b> -1 +0000"),
		"date overflow":                  ident("a <b> 18446744073709551615 +0000"),
		"no date":                        ident("a <b>  +0000"),
		"short zone":                     ident("a <b> 1 +000"),
		"zone without sign":              ident("a <b> 1 00000"),
		"text after the zone":            ident("a <b> 1 +0000 x"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCommit([]byte(text))
			wantCode(t, err, CodeBadObject)
		})
	}
	if _, err := ParseCommit([]byte(ident(" <> 0 -0000"))); err != nil {
		t.Errorf("an empty name and address, which git accepts, are refused: %v", err)
	}
}

func TestParseTag(t *testing.T) {
	good := "object " + oidA + "\ntype commit\ntag v1\ntagger " + who + "\n"
	tag, err := ParseTag([]byte(good + "\nmessage\n-----BEGIN SSH SIGNATURE-----\n"))
	if err != nil || tag.Name != "v1" || tag.Type != Commit || tag.Target != mustOID(t, oidA) || !tag.Signed {
		t.Fatalf("%+v %v", tag, err)
	}
	if _, err := ParseTag([]byte("object " + oidA + "\ntype tree\ntag v1\n\nold")); err != nil {
		t.Errorf("a tag without tagger, as of 2005, is refused: %v", err)
	}
	for name, text := range map[string]string{
		"empty":          "",
		"no object":      "type commit\ntag v1\n\n",
		"unknown type":   "object " + oidA + "\ntype comit\ntag v1\n\n",
		"no name":        "object " + oidA + "\ntype commit\ntag \n\n",
		"control":        "object " + oidA + "\ntype commit\ntag v\x1b[2J\n\n",
		"second object":  good + "object " + oidB + "\n\n",
		"unknown header": good + "x y\n\n",
		"bad tagger":     "object " + oidA + "\ntype commit\ntag v1\ntagger nobody\n\n",
		"NUL":            good + "\na\x00b",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTag([]byte(text))
			wantCode(t, err, CodeBadObject)
		})
	}
}

func line(mode, name string) string { return mode + " " + name + "\x00" + strings.Repeat("\x11", 20) }

func TestParseTree(t *testing.T) {
	good := line("100644", "a") + line("100755", "a.b") + line("40000", "a0") + line("120000", "l") + line("160000", "sub") + line("100644", "ü\n\"\xff")
	entries, err := ParseTree([]byte(good))
	if err != nil || len(entries) != 6 || entries[2].Mode != ModeTree || entries[5].Name != "ü\n\"\xff" {
		t.Fatalf("%+v %v", entries, err)
	}
	if again := AppendTree(nil, entries); string(again) != good {
		t.Fatalf("written again as %q", again)
	}
	for name, text := range map[string]string{
		"unsorted":                      line("100644", "b") + line("100644", "a"),
		"duplicate":                     line("100644", "a") + line("100644", "a"),
		"directory sorted as file":      line("40000", "a") + line("100644", "a.b"),
		"file and directory":            line("100644", "a") + line("40000", "a"),
		"file and directory, apart":     line("100644", "a") + line("100644", "a.b") + line("40000", "a"),
		"file and directory, two apart": line("100644", "a") + line("100644", "a-b") + line("40000", "a-b") + line("40000", "a"),
		"zero-padded mode":              line("040000", "a"),
		"mode 100664":                   line("100664", "a"),
		"mode zero":                     line("0", "a"),
		"long mode":                     line("00000100644", "a"),
		"no mode":                       line("", "a"),
		"empty name":                    line("100644", ""),
		"slash":                         line("100644", "a/b"),
		"dot":                           line("40000", "."),
		"dot dot":                       line("40000", ".."),
		".git":                          line("40000", ".git"),
		".GIT":                          line("40000", ".GIT"),
		"git~1":                         line("40000", "git~1"),
		".git with trailing dot":        line("40000", ".git. ."),
		".git stream":                   line("40000", ".git::$INDEX_ALLOCATION"),
		".git behind backslash":         line("40000", "x\\.git"),
		".git with zero-width joiner":   line("40000", ".g\u200dit"),
		".git before what is not UTF-8": line("40000", ".GIT\xc8UB"),
		".git before U+FFFE":            line("40000", ".git\ufffex"),
		".git with soft hyphen":         line("40000", ".g\u00adit"),
		".git with byte order mark":     line("40000", "\ufeff.git"),
		".gitmodules as link":           line("120000", ".gitmodules"),
		".GITMODULES as link":           line("120000", ".GITMODULES "),
		"gitmod~1 as link":              line("120000", "gitmod~1"),
		"gi7eba~1 as link":              line("120000", "GI7EBA~1"),
		"gi~12345 as link":              line("120000", "gi~12345"),
		"cut in the id":                 line("100644", "a")[:20],
		"cut in the name":               "100644 a",
		"null id":                       "100644 a\x00" + strings.Repeat("\x00", 20),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTree([]byte(text))
			wantCode(t, err, CodeBadObject)
		})
	}
	old, err := ParseKnownTree([]byte(line("100664", "a") + line("040000", "b")))
	if err != nil || old[0].Mode != ModeFile || old[1].Mode != ModeTree {
		t.Fatalf("a tree as old git wrote it: %+v %v", old, err)
	}
	if _, err := ParseKnownTree([]byte(line("100644", "b") + line("100644", "a"))); err == nil {
		t.Error("an unsorted known tree is accepted")
	}
}

func TestFoldMakesEquivalentNamesEqual(t *testing.T) {
	for name, same := range map[string]string{
		".GITHUB":                    ".github",
		".GitHub.":                   ".github",
		".github ":                   ".github",
		".gi\u200dthub":              ".github",
		".gith\u00adub":              ".github",
		".github::$INDEX_ALLOCATION": ".github",
		"e\u0301":                    "\u00e9",
		"E\u0301":                    "\u00e9",
		"STRASSE":                    "straße",
		"\u212aelvin":                "kelvin", // KELVIN SIGN
		"\u017frc":                   "src",    // LONG S
		"\u202emain":                 "main",
	} {
		if Fold(name) != Fold(same) {
			t.Errorf("Fold(%+q) = %+q, Fold(%+q) = %+q", name, Fold(name), same, Fold(same))
		}
	}
	if Fold(".github") != ".github" || Fold(".") != "." || Fold("..") != ".." || Fold("...") != "..." {
		t.Error("Fold changes a plain name")
	}
	if got := FoldPath(`.GITHUB\Workflows/X.yml`); got != ".github/workflows/x.yml" {
		t.Errorf("FoldPath gives %q", got)
	}
}

func TestFoldIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "name")
		if once, twice := Fold(s), Fold(Fold(s)); once != twice {
			t.Fatalf("Fold(%+q) = %+q, again %+q", s, once, twice)
		}
	})
}

func TestCheckName(t *testing.T) {
	for name, code := range map[string]string{
		"a\nb":                   NameControl,
		"a\x1b[2J":               NameControl,
		`a\b`:                    NameBackslash,
		"a\xff":                  NameEncoding,
		"e\u0301":                NameEncoding,
		"a\u202eb":               NameInvisible,
		"a\u200bb":               NameInvisible,
		"a.":                     NameTrailing,
		"a ":                     NameTrailing,
		"a:b":                    NameStream,
		"GITHUB~1":               NameShort,
		"githu~12.ym":            NameShort,
		"CON":                    NameReserved,
		"com1.txt":               NameReserved,
		".GIT":                   NameDotGit,
		"..git":                  NameDotGit,
		strings.Repeat("a", 256): NameTooLong,
	} {
		found := false
		for _, p := range CheckName(name) {
			found = found || p.Code == code
		}
		if !found {
			t.Errorf("CheckName(%+q) = %v, want %s", name, CheckName(name), code)
		}
	}
	for _, name := range []string{"README.md", ".github", "é", "a~", "foo.~1~", "command", "日本語.txt", "a b", "\"quoted\"", ".gitignore"} {
		if p := CheckName(name); p != nil {
			t.Errorf("CheckName(%q) = %v", name, p)
		}
	}
}

func TestHash(t *testing.T) {
	o, err := Hash(Blob, []byte("hello\n"))
	if err != nil || o.String() != "ce013625030ba8dba906f756967f9e9ca394464a" {
		t.Fatalf("%s %v", o, err)
	}
}

// shattered is the first 320 bytes of shattered-1.pdf of https://shattered.io,
// which hold both blocks of the attack.
const shattered = `JVBERi0xLjMKJeLjz9MKCgoxIDAgb2JqCjw8L1dpZHRoIDIgMCBSL0hlaWdodCAzIDAgUi9UeXBlIDQgMCBSL1N1YnR5cGUgNSAw
IFIvRmlsdGVyIDYgMCBSL0NvbG9yU3BhY2UgNyAwIFIvTGVuZ3RoIDggMCBSL0JpdHNQZXJDb21wb25lbnQgOD4+CnN0cmVhbQr/
2P/+ACRTSEEtMSBpcyBkZWFkISEhISGFL+wJIzl1nDmxocY8TJfh//4Bc0bckWa2fhGPApq2IbJWD/nKZ8yox/hbqEx5AwwrPeIY
+G2zqQkB1d9FwU8m/t+z3DjpasIv571yjw5FvOBG0jxXD+sUE5i7VS71oKgr4zH+pIA3uLXXHw4zLt+TrDUA603cDezBqGR5DHgs
diFWYN0wl5HQa9CvP5jNpLxGKbE=`

// With the header of an object in front, the published blocks do no longer
// collide, so the bytes go to the digest directly.
func TestHasherNoticesCollisionAttack(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(shattered, "\n", ""))
	if err != nil || len(raw) != 320 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	h := NewHasher()
	h.sum.Reset()
	h.Write(raw)
	_, err = h.Sum()
	wantCode(t, err, CodeCollision)
	h.Start(Blob, int64(len(raw)))
	h.Write(raw)
	if _, err := h.Sum(); err != nil {
		t.Fatalf("the mark of the last object stays: %v", err)
	}
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree " + oidA + "\nparent " + oidB + "\nauthor " + who + "\ncommitter " + who + "\ngpgsig a\n b\n\nm"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCommit(data)
		if err != nil {
			return
		}
		tree, parents, when, err := CommitLinks(data)
		if err != nil || tree != c.Tree || len(parents) != len(c.Parents) || when != c.Committer.When {
			t.Fatalf("the strict and the lenient reader differ: %v", err)
		}
	})
}

func FuzzTag(f *testing.F) {
	f.Add([]byte("object " + oidA + "\ntype commit\ntag v1\ntagger " + who + "\n\nm"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tag, err := ParseTag(data); err == nil && (tag.Target.IsZero() || tag.Type.String() == "") {
			t.Fatalf("accepted without a target: %+v", tag)
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte(line("100644", "a") + line("40000", "b")))
	f.Add([]byte(line("040000", "a") + line("100664", "b")))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseTree(data)
		if err != nil {
			ParseKnownTree(data)
			return
		}
		if again := AppendTree(nil, entries); !bytes.Equal(again, data) {
			t.Fatalf("%q is written again as %q", data, again)
		}
		names := map[string]bool{}
		for _, e := range entries {
			if names[e.Name] || Fold(e.Name) == ".git" {
				t.Fatalf("accepted the name %q", e.Name)
			}
			names[e.Name] = true
		}
	})
}

func TestOIDInJSON(t *testing.T) {
	in := mustOID(t, oidA)
	text, err := json.Marshal(in)
	if err != nil || string(text) != `"`+oidA+`"` {
		t.Fatalf("%s %v", text, err)
	}
	var out OID
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("%s %v", out, err)
	}
	if err := json.Unmarshal([]byte(`"`+strings.ToUpper(oidC)+`"`), &out); err == nil || out != in {
		t.Errorf("%s %v", out, err)
	}
}

const oidC = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
