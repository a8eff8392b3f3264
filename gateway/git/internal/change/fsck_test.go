package change

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// A39, A40: the names and lines by which a file of git's own harms whoever clones, in any directory.
func TestFilesThatSteerGit(t *testing.T) {
	r, first := seeded(t)
	bad := "[submodule \"x\"]\n\turl = -u./x\n"
	long := strings.Repeat("a", maxAttributes) + " text\n"
	for name, c := range map[string]struct{ path, text, want string }{
		"in a directory":              {"lib/.gitmodules", bad, "GITMODULES lib/.gitmodules"},
		"a short name of NTFS":        {"lib/gitmod~1", bad, "GITMODULES lib/gitmod~1"},
		"the old form of a section":   {"lib/.gitmodules", "[submodule...]\n\tpath = x\n", "GITMODULES lib/.gitmodules"},
		"the same in another case":    {"lib/.gitmodules", "[SubModule...]\n\tpath = x\n", "GITMODULES lib/.gitmodules"},
		"attributes of a long line":   {"lib/.gitattributes", "* text\n" + long, "GITATTRIBUTES lib/.gitattributes"},
		"the same under another name": {"lib/.GitAttributes", long, "GITATTRIBUTES lib/.GitAttributes"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			found := r.one(feature, r.commit(start.with(files{c.path: c.text}), first)).Findings
			for _, f := range found {
				if f.Code+" "+f.Path == c.want && f.Sentence != "" {
					return
				}
			}
			t.Errorf("findings %v, want %s", found, c.want)
		})
	}
	wantFindings(t, r.one(feature, r.commit(start.with(files{"lib/.gitattributes": "*.png -text\n"}), first)).Findings)
	// What main has already is not held against who merges it.
	r.refs[main] = r.commit(start.with(files{"lib/.gitattributes": long}), first)
	merge := r.commit(start.with(files{"lib/.gitattributes": long, "README": "x\n"}), r.commit(start.with(files{"README": "x\n"}), first), r.refs[main])
	wantFindings(t, r.one(feature, merge).Findings)
}

// Each .gitmodules that git fsck refuses is refused. The reverse does not hold: lines are looked at, not meaning.
func TestGitmodulesThatGitFsckRefusesAreRefused(t *testing.T) {
	sections := []string{"[submodule \"a\"]", "[submodule \"../a\"]", "[submodule \"a/..\"]", "[submodule...]", "[submodule \"..\\..\"]", "[SUBMODULE \"..\"]", "[submodule \"a\\..\"]", "[core]", "[submodule]"}
	keys := []string{"url", "path", "update", "URL", "Update", "branch", "ignore"}
	values := []string{"-x", "--upload-pack=x", "!sh", "\"", "\\\"", "\\n", "\\t", " ", "\n", "\\\n", ";c", "#c", "\t", "=", "https://example.org/a", "./a", "../a", "../../../:x", "..//a",
		"http::", "http:///x", "ftp://%0ax", "a", "%0A", "%0d", "\r", "\\b", "\\\\", "./%0a", "https:", "/", ":", "é", "\xff"}
	for _, seed := range soak(t, 1) {
		rng := rand.New(rand.NewPCG(seed, 4))
		r := newRepo(t)
		texts := map[object.OID]string{}
		tip := files{}
		for i := range 1000 {
			var b strings.Builder
			for range 1 + rng.IntN(2) {
				b.WriteString(sections[rng.IntN(len(sections))] + []string{"\n", " ", "\r\n", ""}[rng.IntN(10)*rng.IntN(10)%4])
				for range rng.IntN(4) {
					b.WriteString("\t" + keys[rng.IntN(len(keys))] + []string{" = ", "=", " ", "\t=\t"}[rng.IntN(4)])
					for range 1 + rng.IntN(3) {
						b.WriteString(values[rng.IntN(len(values))])
					}
					b.WriteString("\n")
				}
			}
			tip[fmt.Sprintf("d%d/.gitmodules", i)] = b.String()
			texts[r.put(object.Blob, []byte(b.String()))] = b.String()
		}
		r.commit(tip)
		dir := r.toGit()
		cmd := exec.Command("git", "--git-dir", dir, "fsck", "--strict", "--no-dangling")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.Run() // it fails when it finds something
		refused := 0
		for _, m := range regexp.MustCompile(`error in blob ([0-9a-f]{40}): (\S+)`).FindAllStringSubmatch(out.String(), -1) {
			refused++
			if text, ok := texts[r.oid(m[1])]; !ok || badGitmodules([]byte(text)) == "" {
				t.Errorf("seed %d: git says %s of %q", seed, m[2], text)
			}
		}
		if refused < 100 {
			t.Fatalf("git refused %d of %d: the case tests nothing\n%s", refused, len(texts), out.String())
		}
	}
}
