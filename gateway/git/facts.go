package git

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/meaning"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

const (
	maxFindings   = 100 // of one ref
	maxSignatures = 200 // checked in one push
)

// taskBranches are branches that only Remit's tasks use.
const taskBranches = "refs/heads/remit/"

// refChanges says the facts in the words of a request.
func (g *Gateway) refChanges(ctx context.Context, repo Repo, in change.Input, push *change.Push, m *meaning.Meaning) ([]remit.RefChange, error) {
	out := make([]remit.RefChange, len(push.Refs))
	checked := 0
	for i, r := range push.Refs {
		c := remit.RefChange{Ref: r.Ref, Op: remit.RefOp(r.Op), Old: hexOID(r.Old), New: hexOID(r.New), Tree: hexOID(r.Tree), Commits: len(r.Commits)}
		var counted []change.Change
		for _, p := range r.Changes {
			// What a merge of the trusted branch brings into a task's own branch was accepted before. Elsewhere it
			// counts: the branch has rules of its own.
			if p.Merged && strings.HasPrefix(r.Ref, taskBranches) {
				continue
			}
			c.Paths, counted = append(c.Paths, pathChange(p)), append(counted, p)
		}
		m.Facts(&c, counted)
		for _, oid := range r.Brought {
			c.Brought = append(c.Brought, oid.String())
		}
		for _, p := range r.Pinned {
			c.Pinned = append(c.Pinned, pathChange(p))
		}
		for _, f := range append(slices.Clone(r.Findings), push.Findings...) {
			if len(c.Findings) == maxFindings {
				break
			}
			code, ok := codes[f.Code]
			if !ok {
				code = remit.BadObject
			}
			c.Findings = append(c.Findings, remit.Finding{Code: code, Path: change.Readable(f.Path), Sentence: f.Sentence})
		}
		if err := g.provenance(ctx, repo, in, r, &c, &checked); err != nil {
			return nil, err
		}
		out[i] = c
	}
	return out, nil
}

// provenance adds who pushed and who verifiably signed the new commits.
func (g *Gateway) provenance(ctx context.Context, repo Repo, in change.Input, r change.Ref, c *remit.RefChange, checked *int) error {
	// What this push brings is its own, unless an earlier push brought it as well: a commit that is sent twice keeps who
	// sent it first. The rest was brought before, by whom the log knows, or outside Remit.
	brought := make(map[object.OID]bool, len(r.Brought))
	for _, oid := range r.Brought {
		brought[oid] = true
	}
	var own, before []string
	for _, oid := range r.Commits {
		if brought[oid] {
			own = append(own, oid.String())
		} else {
			before = append(before, oid.String())
		}
	}
	if g.Provenance != nil && len(before) > 0 {
		var err error
		if c.Pushers, c.Outside, err = g.Provenance.PushedBy(ctx, repo.Resource(), before); err != nil {
			return err
		}
	}
	if g.Provenance != nil && len(own) > 0 {
		again, _, err := g.Provenance.PushedBy(ctx, repo.Resource(), own)
		if err != nil {
			return err
		}
		c.Pushers = append(c.Pushers, again...)
		slices.Sort(c.Pushers)
		c.Pushers = slices.Compact(c.Pushers)
	}
	if g.Signers == nil {
		return nil
	}
	for _, oid := range r.Commits {
		_, body, err := read(ctx, in, oid)
		if err != nil {
			return err
		}
		payload, signature := splitSignature(body)
		if len(signature) == 0 {
			continue
		}
		if *checked++; *checked > maxSignatures {
			return remit.Errorf(remit.TooLargeToJudge, "the push has more than %d signed commits; push the history in parts", maxSignatures)
		}
		person, ok, err := g.Signers.Signer(ctx, payload, signature)
		if err != nil {
			return err
		}
		if ok && !slices.Contains(c.Signers, person) {
			c.Signers = append(c.Signers, person)
		}
	}
	slices.Sort(c.Signers)
	return nil
}

// read gives an object of the push, or of upstream.
func read(ctx context.Context, in change.Input, oid object.OID) (object.Type, []byte, error) {
	if in.Pack != nil {
		if _, _, _, ok := in.Pack.Find(oid); ok {
			return in.Pack.Object(ctx, oid)
		}
	}
	return in.Base.Object(ctx, oid)
}

// splitSignature takes the gpgsig header off a commit (gitformat-signature(5)): what is left is what was signed.
func splitSignature(commit []byte) (payload, signature []byte) {
	head, message, _ := bytes.Cut(commit, []byte("\n\n"))
	within := false
	for line := range bytes.Lines(append(slices.Clone(head), '\n')) {
		if rest, ok := bytes.CutPrefix(line, []byte("gpgsig ")); ok && !within && len(signature) == 0 {
			within, signature = true, append(signature, rest...)
			continue
		}
		if within && line[0] == ' ' {
			signature = append(signature, line[1:]...)
			continue
		}
		within = false
		payload = append(payload, line...)
	}
	return append(append(payload, '\n'), message...), signature
}

func pathChange(c change.Change) remit.PathChange {
	p := remit.PathChange{
		Path: change.Readable(c.Path), OldMode: c.OldMode, NewMode: c.NewMode,
		Old: hexOID(c.Old), New: hexOID(c.New), Past: c.InHistoryOnly,
	}
	if fold := change.Readable(object.FoldPath(c.Path)); fold != p.Path {
		p.Fold = fold
	}
	return p
}

func hexOID(o object.OID) string {
	if o.IsZero() {
		return ""
	}
	return o.String()
}

// control makes the watched patterns a surface of folded paths.
func control(patterns []remit.Pattern) change.Control {
	var folded []remit.Pattern
	exact, deep := map[string]bool{}, map[string]bool{}
	for _, p := range patterns {
		f := object.FoldPath(string(p))
		folded = append(folded, remit.Pattern(f))
		set := exact
		if rest, ok := strings.CutPrefix(f, "**/"); ok {
			f, set = rest, deep
		}
		// Whatever lies above the last segment of a pattern must be a directory.
		for i := range len(f) {
			if f[i] == '/' {
				set[f[:i]] = true
			}
		}
	}
	return change.Control{
		Match: func(path string) bool {
			return slices.ContainsFunc(folded, func(p remit.Pattern) bool { return p.MatchPath(path) })
		},
		Parent: func(path string) bool {
			if exact[path] || deep[path] {
				return true
			}
			for d := range deep {
				if strings.HasSuffix(path, "/"+d) {
					return true
				}
			}
			return false
		},
	}
}

// Limits of a card; together they stay below remit.MaxPayload, however JSON escapes the text.
const (
	cardCommits = 60
	cardPaths   = 120
	cardText    = 160 // of one subject, author or path
	cardDiff    = 24 << 10
)

// card makes the payload that shows the push.
func (g *Gateway) card(ctx context.Context, in change.Input, view *mirror.View, push *change.Push, m *meaning.Meaning) (remit.Payload, error) {
	var p remit.Payload
	if _, err := io.ReadFull(g.Random, p.Salt[:]); err != nil {
		return p, fmt.Errorf("making a salt: %w", err)
	}
	var c remit.Shown
	var changes []change.Change
	seen := map[change.Change]bool{}
	commits, shown := 0, map[object.OID]bool{}
	for _, r := range push.Refs {
		for _, oid := range r.Commits {
			if shown[oid] {
				continue
			}
			shown[oid] = true
			if commits++; commits > cardCommits {
				continue
			}
			line, err := describe(ctx, in, oid)
			if err != nil {
				return p, err
			}
			c.Commits = append(c.Commits, line)
		}
		// What watched paths become stands first, whether or not this push changed them.
		for _, ch := range append(slices.Clone(r.Pinned), r.Changes...) {
			if !seen[ch] && !ch.Merged {
				seen[ch] = true
				changes = append(changes, ch)
			}
		}
	}
	notes := m.Notes(changes, cardPaths)
	for _, ch := range changes[:min(len(changes), cardPaths)] {
		p := remit.ShownPath{Path: change.Clip(change.Visible(ch.Path), cardText), Kind: ch.Kind, Note: notes[ch.Path]}
		if ch.InHistoryOnly {
			p.Kind, p.Note = "past", strings.TrimSuffix("changed in between, and changed back; "+p.Note, "; ")
		}
		c.Paths = append(c.Paths, p)
	}
	c.More = max(0, len(changes)-cardPaths)
	c.MoreCommits = max(0, commits-cardCommits)
	if err := prefetch(ctx, view, changes); err != nil {
		return p, err
	}
	c.Diff = change.Unified(ctx, in, changes, cardDiff)
	c.Cut = len(c.Diff) >= cardDiff-cardText
	for {
		var err error
		if p.Body, err = json.Marshal(c); err != nil || len(p.Body) <= remit.MaxPayload {
			return p, err
		}
		if c.Diff == "" {
			return p, remit.Errorf(remit.TooLargeToJudge, "the push cannot be shown in %d bytes; push fewer refs and commits at a time", remit.MaxPayload)
		}
		// Escapes made it larger than it was.
		c.Diff = change.Clip(c.Diff, len(c.Diff)/2)
		c.Cut = true
	}
}

// prefetch brings the old contents that the difference will show, in one request.
func prefetch(ctx context.Context, view *mirror.View, changes []change.Change) error {
	var want []object.OID
	for _, ch := range changes[:min(len(changes), cardPaths)] {
		if ch.OldMode != 0 && ch.OldMode != object.ModeGitlink && !slices.Contains(want, ch.Old) {
			want = append(want, ch.Old)
		}
	}
	return view.Prefetch(ctx, want...)
}

func describe(ctx context.Context, in change.Input, oid object.OID) (remit.ShownCommit, error) {
	_, body, err := read(ctx, in, oid)
	if err != nil {
		return remit.ShownCommit{}, err
	}
	info, err := object.ParseCommit(body)
	var refused *object.Error
	if errors.As(err, &refused) {
		return remit.ShownCommit{ID: oid.String(), Subject: "(not legible)"}, nil
	}
	if err != nil {
		return remit.ShownCommit{}, err
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(info.Message, "\n"), "\n")
	return remit.ShownCommit{
		ID: oid.String(), Subject: change.Clip(change.Scrub(subject), cardText),
		Author: change.Clip(change.Scrub(info.Author.Name+" <"+info.Author.Email+">"), cardText),
	}, nil
}
