package world

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Bundles keeps policies whose text says all that they do: a module with the line "# deny" denies everything, one with
// the line "# no PATH" what changes that path, one with "# look PATH" has a reviewer look at it, one with the line
// "# broken" does not compile, any other has nothing to add.
type Bundles struct {
	mu    sync.Mutex
	files map[remit.Digest][]remit.PolicyFile
}

// Compile makes files a policy.
func (b *Bundles) Compile(_ context.Context, files []remit.PolicyFile) (authority.Policy, error) {
	text, err := json.Marshal(files)
	if err != nil {
		return nil, err
	}
	p := policy{digest: remit.Hash(text)}
	for _, f := range files {
		if strings.Contains(f.Text, "# broken") {
			return nil, remit.Errorf(remit.BadRequest, "%s: it does not compile", f.Name)
		}
		p.deny = p.deny || strings.Contains(f.Text, "# deny")
		for line := range strings.Lines(f.Text) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "# no "); ok {
				p.no = append(p.no, path)
			}
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "# look "); ok {
				p.look = append(p.look, path)
			}
		}
	}
	return p, nil
}

// Install keeps files.
func (b *Bundles) Install(ctx context.Context, files []remit.PolicyFile) (remit.Digest, error) {
	p, err := b.Compile(ctx, files)
	if err != nil {
		return remit.Digest{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[p.Digest()] = files
	return p.Digest(), nil
}

// Files gives back what was installed.
func (b *Bundles) Files(_ context.Context, d remit.Digest) ([]remit.PolicyFile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	files, ok := b.files[d]
	if !ok {
		return nil, remit.Errorf(remit.NotFound, "no bundle %s", d)
	}
	return files, nil
}

// Policy finds a policy for the engine.
func (b *Bundles) Policy(ctx context.Context, d remit.Digest) (authority.Policy, error) {
	files, err := b.Files(ctx, d)
	if err != nil {
		return nil, err
	}
	return b.Compile(ctx, files)
}

type policy struct {
	digest   remit.Digest
	deny     bool
	no, look []string // paths
}

func (p policy) Digest() remit.Digest { return p.digest }

func (p policy) Judge(f authority.Facts) authority.Finding {
	changes := func(paths []string) bool {
		return slices.ContainsFunc(f.Steps, func(s authority.StepView) bool {
			return slices.ContainsFunc(s.Paths, func(c remit.PathChange) bool { return slices.Contains(paths, c.Path) })
		})
	}
	switch {
	case p.deny:
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"any.no"}, Sentence: "no"}
	case changes(p.no):
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"no"}, Sentence: "<script>alert(1)</script> That is changed by people."}
	case changes(p.look):
		return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"look"}, Sentence: "A reviewer looks.", Votes: []remit.Need{{Group: "reviewers", N: 1}}}
	}
	return authority.Finding{Verdict: remit.Allow}
}
