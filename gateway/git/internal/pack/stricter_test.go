package pack

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// stricter is where git index-pack --strict takes what is refused here. The sentence of the refusal tells which it is.
var stricter = []struct {
	sentence *regexp.Regexp
	why      string
	packs    map[string]func(b *builder)
}{
	{
		regexp.MustCompile(`begin with PACK and version 2`),
		"git writes version 2 only; what is in version 3 was never said",
		nil, // see below: the builder writes version 2
	},
	{
		regexp.MustCompile(`its chain of deltas is longer than|above the limit of`),
		"limits of one push",
		map[string]func(b *builder){
			"a chain of 51 deltas": func(b *builder) {
				at := b.object(object.Blob, nil)
				for i := range 51 {
					at = b.offsetDelta(at, appendDelta(i, "x"))
				}
			},
			"a commit above 1 MiB": func(b *builder) { commit(b, "", strings.Repeat("x", object.MaxCommit)) },
			"a header above 256 KiB": func(b *builder) {
				commit(b, "x "+strings.Repeat("x", 300<<10)+"\n", "m")
			},
		},
	},
	{
		regexp.MustCompile(`4b825dc642cb6eb9a060e54bf8d69288fbee4904: there is no such tree`),
		"git knows the empty tree without having it; upstream's mirror says so, and then nothing is missing",
		map[string]func(b *builder){
			"the empty tree is not sent": func(b *builder) {
				b.object(object.Commit, []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor "+whos[0]+"\ncommitter "+whos[0]+"\n\nm"))
			},
		},
	},
	{
		regexp.MustCompile(`the tree has an entry of mode`),
		"git reads any mode as one of five, so two readers can show two modes",
		map[string]func(b *builder){
			"mode 100664": func(b *builder) { tree(b, "100664", "a") },
			"mode 100600": func(b *builder) { tree(b, "100600", "a") },
			"mode 104755": func(b *builder) { tree(b, "104755", "a") },
			"mode 1":      func(b *builder) { tree(b, "1", "a") },
		},
	},
	{
		regexp.MustCompile(`does not begin with a mode`),
		"a mode of eight digits or more is none",
		nil,
	},
	{
		regexp.MustCompile(`which some file systems take for .git`),
		"git knows what HFS+ and NTFS ignore in a name, and not what newer file systems and readers do",
		map[string]func(b *builder){
			"a soft hyphen in .git": func(b *builder) { tree(b, "100644", ".g\u00adit") },
		},
	},
	{
		regexp.MustCompile(`the commit has a line "[a-z0-9-]+" too many|the commit names the parent [0-9a-f]+ twice`),
		"git reads the first, other tools the last: two readers would see two commits",
		map[string]func(b *builder){
			"a second tree behind the headers":   func(b *builder) { commit(b, "tree "+strings.Repeat("1", 40)+"\n", "m") },
			"a second parent behind the headers": func(b *builder) { commit(b, "parent "+strings.Repeat("1", 40)+"\n", "m") },
			"a second encoding":                  func(b *builder) { commit(b, "encoding a\nencoding b\n", "m") },
			"a second signature":                 func(b *builder) { commit(b, "gpgsig a\ngpgsig b\n", "m") },
			"a parent twice": func(b *builder) {
				b.object(object.Tree, nil)
				head := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
				who := "author " + whos[0] + "\ncommitter " + whos[0] + "\n\nm"
				b.object(object.Commit, []byte(head+who))
				first, _ := object.Hash(object.Commit, []byte(head+who))
				b.object(object.Commit, []byte(head+strings.Repeat("parent "+first.String()+"\n", 2)+who))
			},
		},
	},
	{
		regexp.MustCompile(`has a header line ".*" that is not|the header of the (commit|tag) does not end`),
		"what is no header line could be read as part of the message",
		map[string]func(b *builder){
			"a word for a header": func(b *builder) { commit(b, "justaword\n", "m") },
		},
	},
	{
		regexp.MustCompile(`the tag has a line ".*" that does not belong there|the tag has an empty name or one with control characters`),
		"a tag says what it names in four lines; git only notes what is odd about them",
		map[string]func(b *builder){
			"a further line in a tag":             func(b *builder) { tag(b, "v1", "x y\n") },
			"a control character in a tag's name": func(b *builder) { tag(b, "v\x1b[2J", "") },
		},
	},
	{
		regexp.MustCompile(`the line "tagger" of the tag`),
		"git forgets what it found wrong with the tagger when a further line follows",
		map[string]func(b *builder){
			"a bad tagger before a further line": func(b *builder) { tag(b, "v1\ntagger nobody\nx y", "") },
		},
	},
	{
		regexp.MustCompile(`the line "(object|tree|parent)" of the (tag|commit) does not hold an object id`),
		"one object has one spelling; git reads upper case too",
		map[string]func(b *builder){
			"an id in upper case": func(b *builder) {
				b.object(object.Tree, nil)
				b.object(object.Commit, []byte("tree 4B825DC642CB6EB9A060E54BF8D69288FBEE4904\nauthor "+whos[0]+"\ncommitter "+whos[0]+"\n\nm"))
			},
		},
	},
	{
		regexp.MustCompile(`its delta ends within its header`),
		"git takes a number that the end of the delta cuts off",
		map[string]func(b *builder){
			"a delta that ends in its sizes": func(b *builder) {
				at := b.object(object.Blob, []byte("12345"))
				b.offsetDelta(at, []byte{5, 0x80, 0x80, 0x80})
			},
		},
	},
}

func reason(err error) string {
	for _, s := range stricter {
		if s.sentence.MatchString(err.Error()) {
			return s.why
		}
	}
	return ""
}

func commit(b *builder, headers, message string) {
	b.object(object.Tree, nil)
	b.object(object.Commit, fmt.Appendf(nil, "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor %s\ncommitter %s\n%s\n%s", whos[0], whos[0], headers, message))
}

func tree(b *builder, mode, name string) {
	b.object(object.Blob, []byte("x"))
	oid, _ := object.Hash(object.Blob, []byte("x"))
	b.object(object.Tree, append([]byte(mode+" "+name+"\x00"), oid[:]...))
}

func tag(b *builder, name, headers string) {
	b.object(object.Blob, []byte("x"))
	oid, _ := object.Hash(object.Blob, []byte("x"))
	b.object(object.Tag, fmt.Appendf(nil, "object %s\ntype blob\ntag %s\ntagger %s\n%s\nm", oid, name, whos[0], headers))
}

// A43, A58 and others: each place where we are stricter than git is meant, and git is still laxer there.
func TestWhereThePackIsJudgedMoreStrictlyThanByGit(t *testing.T) {
	j := newJudge(t)
	try := func(name, why string, data []byte) {
		_, err := ours(t, data)
		if err == nil || reason(err) != why {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := j.strict(data); err != nil {
			t.Errorf("%s: git refuses it as well: %v", name, err)
		}
	}
	for _, s := range stricter {
		for name, write := range s.packs {
			var b builder
			write(&b)
			try(name, s.why, b.bytes())
		}
	}
	var b builder
	b.object(object.Blob, []byte("x"))
	third := slices.Concat([]byte("PACK\x00\x00\x00\x03"), bytes.TrimSuffix(b.bytes(), b.bytes()[len(b.bytes())-20:])[8:])
	try("version 3", stricter[0].why, seal(third))
}
