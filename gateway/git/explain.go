package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Explainer says of changed files what a person should know before they decide: which dependencies change, what is
// wrong with a workflow, who owns a path. It only adds words to the card.
type Explainer interface {
	// Explains tells whether Explain has anything to say of files of that name.
	Explains(path string) bool
	// Explain compares two contents; nil stands for a file that is not there.
	Explain(path string, old, new []byte) []string
	// Owners reads a CODEOWNERS file.
	Owners(file []byte) func(path string) []string
}

// Limits of what is explained of one change.
const (
	maxExplained = 20      // files
	maxExplain   = 4 << 20 // bytes of one file
	maxNote      = 600     // bytes of one file's words
)

// owners are the places of a CODEOWNERS file, first found counts.
var owners = []string{"CODEOWNERS", ".gitea/CODEOWNERS", ".forgejo/CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS"}

// explain gives what there is to say about changes, by path. What is explained is moved to the front, so that no number
// of other changes pushes it off the card.
func (g *Gateway) explain(ctx context.Context, in change.Input, view *mirror.View, changes []change.Change) (map[string]string, error) {
	if g.Explainer == nil {
		return nil, nil
	}
	slices.SortStableFunc(changes, func(a, b change.Change) int {
		return rank(g.Explainer.Explains(b.Path)) - rank(g.Explainer.Explains(a.Path))
	})
	n := 0
	var want []object.OID
	for n < len(changes) && g.Explainer.Explains(changes[n].Path) {
		if n < maxExplained {
			for i, oid := range []object.OID{changes[n].Old, changes[n].New} {
				if mode := []uint32{changes[n].OldMode, changes[n].NewMode}[i]; mode != 0 && mode != object.ModeGitlink && !inPack(in, oid) {
					want = append(want, oid)
				}
			}
		}
		n++
	}
	if err := view.Prefetch(ctx, want...); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i, c := range changes[:n] {
		if i == maxExplained {
			out[c.Path] = fmt.Sprintf("this and %d more files of its kind are not explained", n-i-1)
			break
		}
		before, err := content(ctx, in, c.OldMode, c.Old)
		if err != nil {
			return nil, err
		}
		after, err := content(ctx, in, c.NewMode, c.New)
		if err != nil {
			return nil, err
		}
		if said := note(g.Explainer.Explain(c.Path, before, after)); said != "" {
			out[c.Path] = said
		}
	}
	of, err := g.owners(ctx, in, view)
	if err != nil || of == nil {
		return out, err
	}
	for _, c := range changes[:min(len(changes), cardPaths)] {
		if who := of(c.Path); len(who) > 0 {
			said := "owned by " + clip(scrub(strings.Join(who, " ")), cardText)
			out[c.Path] = strings.TrimSuffix(said+"; "+out[c.Path], "; ")
		}
	}
	return out, nil
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func inPack(in change.Input, oid object.OID) bool {
	if in.Pack == nil {
		return false
	}
	_, _, _, ok := in.Pack.Find(oid)
	return ok
}

// clipNote cuts the middle of what is said: a name that somebody made long shall not push the finding after it out.
func clipNote(l string) string {
	if len(l) <= cardText {
		return l
	}
	head, finding, found := strings.Cut(l, " (!) ")
	if !found {
		return clip(l, cardText) + "…"
	}
	finding = clip(finding, cardText*3/4)
	return clip(head, cardText-len(finding)) + "… (!) " + finding
}

// note joins what is said of one file.
func note(lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		l = clipNote(scrub(l))
		if b.Len()+len(l)+40 > maxNote {
			fmt.Fprintf(&b, "; and %d more", len(lines)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(l)
	}
	return b.String()
}

// content is a plain file's; nil if there is none, or none that can be read.
func content(ctx context.Context, in change.Input, mode uint32, oid object.OID) ([]byte, error) {
	if mode == 0 || mode == object.ModeGitlink {
		return nil, nil
	}
	_, body, err := read(ctx, in, oid)
	var refused *object.Error
	if errors.Is(err, change.ErrNotFound) || errors.As(err, &refused) {
		return nil, nil
	}
	if len(body) > maxExplain {
		return nil, nil
	}
	return append([]byte{}, body...), err
}

// owners reads the CODEOWNERS file of the trusted branch: what the push itself says about owners does not count.
func (g *Gateway) owners(ctx context.Context, in change.Input, view *mirror.View) (func(string) []string, error) {
	tip, ok := view.Refs()[in.Trusted]
	if !ok {
		return nil, nil
	}
	for _, path := range owners {
		oid, ok, err := fileAt(ctx, view, tip, path)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		_, body, err := view.Object(ctx, oid)
		if err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the owners of the repository's paths cannot be read: %w", err)
		}
		return g.Explainer.Owners(body), nil
	}
	return nil, nil
}

// fileAt finds a plain file of a commit.
func fileAt(ctx context.Context, base change.Base, at object.OID, path string) (object.OID, bool, error) {
	typ, body, err := base.Object(ctx, at)
	if err != nil || typ != object.Commit {
		return at, false, err
	}
	if at, _, _, err = object.CommitLinks(body); err != nil {
		return at, false, err
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		_, body, err := base.Object(ctx, at)
		if err != nil {
			return at, false, err
		}
		entries, err := object.ParseKnownTree(body)
		if err != nil {
			return at, false, err
		}
		j := slices.IndexFunc(entries, func(e object.Entry) bool { return e.Name == part })
		if j < 0 || (i < len(parts)-1) != (entries[j].Mode == object.ModeTree) {
			return at, false, nil
		}
		at = entries[j].OID
		if i == len(parts)-1 {
			return at, entries[j].Mode == 0o100644 || entries[j].Mode == 0o100755, nil
		}
	}
	return at, false, nil
}
