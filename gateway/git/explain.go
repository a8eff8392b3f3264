package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/meaning"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Explainer says of changed files what policy judges and what a person should know before they decide.
type Explainer = meaning.Explainer

// Limits of what is explained of one push.
const (
	maxExplained = 50       // files
	maxExplain   = 4 << 20  // bytes of one file
	maxExplains  = 64 << 20 // bytes of all of them
)

// owners are the places of a CODEOWNERS file, first found counts.
var owners = []string{"CODEOWNERS", ".gitea/CODEOWNERS", ".forgejo/CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS"}

// explain finds what the changed files of a push mean.
func (g *Gateway) explain(ctx context.Context, in change.Input, view *mirror.View, push *change.Push) (*meaning.Meaning, error) {
	if g.Explainer == nil {
		return meaning.New(nil, nil, nil), nil
	}
	files := map[change.Change]meaning.Said{}
	var list []change.Change
	var want []object.OID
	add := func(changes []change.Change) {
		for _, c := range changes {
			if _, known := files[c]; known || len(list) == maxExplained || !g.Explainer.Explains(c.Path) {
				continue
			}
			files[c] = meaning.Said{}
			list = append(list, c)
			for i, oid := range []object.OID{c.Old, c.New} {
				if mode := []uint32{c.OldMode, c.NewMode}[i]; plainFile(mode) && !inPack(in, oid) {
					want = append(want, oid)
				}
			}
		}
	}
	for _, r := range push.Refs {
		add(r.Changes)
	}
	for _, r := range push.Refs {
		add(r.Pinned) // people are shown these as well
	}
	if err := view.Prefetch(ctx, want...); err != nil {
		return nil, err
	}
	left := maxExplains
	for _, c := range list {
		of, err := g.explainFile(ctx, in, c, &left)
		if err != nil {
			return nil, err
		}
		files[c] = of
	}
	of, err := g.owners(ctx, in, view)
	return meaning.New(files, of, g.Explainer.Explains), err
}

// explainFile explains one change. What cannot be read is said: taken for a file that is not there, it would hide what is
// in it.
func (g *Gateway) explainFile(ctx context.Context, in change.Input, c change.Change, left *int) (meaning.Said, error) {
	var contents [2][]byte
	for i, oid := range []object.OID{c.Old, c.New} {
		mode := []uint32{c.OldMode, c.NewMode}[i]
		if mode == 0 || i == 0 && !plainFile(mode) {
			continue
		}
		why := "it is a symbolic link or a submodule"
		if plainFile(mode) {
			var err error
			if contents[i], why, err = content(ctx, in, oid); err != nil {
				return meaning.Said{}, err
			}
		}
		if *left -= len(contents[i]); *left < 0 {
			why = "the push changes more files of this kind than are looked at"
		}
		if why != "" {
			return meaning.Said{Dependencies: []remit.DependencyChange{{File: c.Path, Findings: []string{remit.OddUnread}, Text: "cannot be explained: " + why}}}, nil
		}
	}
	var s meaning.Said
	s.Dependencies, s.Workflows = g.Explainer.Explain(c.Path, contents[0], contents[1])
	return s, nil
}

func plainFile(mode uint32) bool { return mode&0o170000 == 0o100000 }

func inPack(in change.Input, oid object.OID) bool {
	if in.Pack == nil {
		return false
	}
	_, _, _, ok := in.Pack.Find(oid)
	return ok
}

// content is a plain file's, or why it is not looked at.
func content(ctx context.Context, in change.Input, oid object.OID) (body []byte, why string, err error) {
	_, body, err = read(ctx, in, oid)
	var refused *object.Error
	switch {
	case errors.Is(err, change.ErrNotFound) || errors.As(err, &refused):
		return nil, "its content is not at hand", nil
	case err != nil:
		return nil, "", err
	case len(body) > maxExplain:
		return nil, fmt.Sprintf("it is larger than the %d bytes that are looked at", maxExplain), nil
	}
	return append([]byte{}, body...), "", nil
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
