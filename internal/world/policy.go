package world

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Bundles keeps policies whose text says all that they do: a module with the line "# deny" denies everything, one with
// the line "# broken" does not compile, any other has nothing to add.
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
	digest remit.Digest
	deny   bool
}

func (p policy) Digest() remit.Digest { return p.digest }

func (p policy) Judge(authority.Facts) authority.Finding {
	if p.deny {
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"any.no"}, Sentence: "no"}
	}
	return authority.Finding{Verdict: remit.Allow}
}
