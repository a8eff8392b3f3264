package follow

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// provenance knows which allowed pushes brought which commits to which repository. A push counts from its redemption,
// before anything of it is sent, unless it is proven that nothing of it reached the upstream: of one whose outcome is
// unclear, or not yet known, its people may be behind what is there.
type provenance struct {
	brought  map[remit.Resource]map[string][]remit.EntryIndex // by the bytes of the commit's id
	allowed  map[remit.ID]pushed                              // permits that nobody redeemed yet
	age      []remit.ID                                       // of allowed, in the order of the log
	attempts map[remit.ID]pushed
}

// pushed is an allowed push.
type pushed struct {
	entry    remit.EntryIndex
	command  remit.Digest
	repo     remit.Resource
	notAfter int64
	commits  []string // of an attempt: what it brings, by the bytes of the commits' ids
}

func newProvenance() provenance {
	return provenance{brought: map[remit.Resource]map[string][]remit.EntryIndex{}, allowed: map[remit.ID]pushed{}, attempts: map[remit.ID]pushed{}}
}

func (p *provenance) fold(ctx context.Context, log Log, i remit.EntryIndex, l ledger.Leaf) error {
	for len(p.age) > 0 {
		if old, ok := p.allowed[p.age[0]]; ok && l.At.UnixNano() < old.notAfter {
			break
		}
		delete(p.allowed, p.age[0])
		p.age = p.age[1:]
	}
	switch e := l.Event.(type) {
	case *remit.Decided:
		at := slices.IndexFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Action == "source.push" && !f.Step.Effect })
		if e.Verdict == remit.Allow && at >= 0 {
			p.allowed[e.Permit] = pushed{entry: i, command: l.Command, repo: e.Steps[at].Step.Resource, notAfter: e.NotAfter}
			p.age = append(p.age, e.Permit)
		}
	case *remit.Redeemed:
		push, ok := p.allowed[e.Permit]
		if !ok {
			return nil
		}
		commits, err := p.landing(ctx, log, push)
		if err != nil {
			return err
		}
		push.commits = commits
		p.attempts[e.ID] = push
		delete(p.allowed, e.Permit)
	case *remit.PayloadsErased:
		return p.restore(ctx, log, l.Command)
	case *remit.Recorded:
		if push := p.attempts[e.Attempt]; e.Outcome == remit.NotApplied {
			known := p.brought[push.repo]
			for _, key := range push.commits {
				known[key] = slices.DeleteFunc(known[key], func(i remit.EntryIndex) bool { return i == push.entry })
				if len(known[key]) == 0 {
					delete(known, key)
				}
			}
		}
		delete(p.attempts, e.Attempt)
	}
	return nil
}

// landing notes the commits of a push, and gives them. Where its command was erased, nobody can tell any more who brought
// them, and they count as brought outside.
func (p *provenance) landing(ctx context.Context, log Log, push pushed) (commits []string, err error) {
	c, err := log.Command(ctx, push.command)
	if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cmd, ok := c.(*authority.Authorize)
	if !ok {
		return nil, nil
	}
	for _, r := range cmd.Request.Refs {
		commits = append(commits, p.note(push.repo, push.entry, r.Brought)...)
	}
	return commits, nil
}

// note notes commits of a push, in hex, and gives the bytes of those that were not known to be of it.
func (p *provenance) note(repo remit.Resource, push remit.EntryIndex, oids []string) (commits []string) {
	known := p.brought[repo]
	if known == nil {
		known = map[string][]remit.EntryIndex{}
		p.brought[repo] = known
	}
	for _, oid := range oids {
		key, err := hex.DecodeString(oid)
		if err != nil {
			continue
		}
		if !slices.Contains(known[string(key)], push) {
			known[string(key)] = append(known[string(key)], push)
			commits = append(commits, string(key))
		}
	}
	return commits
}

// restore notes the commits of pushes whose commands were erased: the erasure names them.
func (p *provenance) restore(ctx context.Context, log Log, command remit.Digest) error {
	if command.IsZero() {
		return nil // a further entry of one erasure
	}
	c, err := log.Command(ctx, command)
	if err != nil {
		return err
	}
	cmd, ok := c.(*authority.ErasePayloads)
	if !ok {
		return nil
	}
	for _, b := range cmd.Brought {
		p.note(b.Repo, b.Entry, b.Commits)
	}
	return nil
}

// StillBrought is, of the commits that pushes would have brought, those that they did bring.
func (f *Follower) StillBrought(ctx context.Context, list []remit.Brought) (out []remit.Brought, err error) {
	if err := f.CatchUp(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range list {
		known := f.provenance.brought[b.Repo]
		b.Commits = slices.DeleteFunc(slices.Clone(b.Commits), func(oid string) bool {
			key, err := hex.DecodeString(oid)
			return err != nil || !slices.Contains(known[string(key)], b.Entry)
		})
		if len(b.Commits) > 0 {
			out = append(out, b)
		}
	}
	return out, nil
}

// PushedBy says which pushes through Remit brought commits (hex object ids) to a repository, in the order of the log,
// and how many of the commits none of them brought. It knows every push that was redeemed before the call.
func (f *Follower) PushedBy(ctx context.Context, repo remit.Resource, commits []string) (entries []remit.EntryIndex, outside int, err error) {
	if err := f.CatchUp(ctx); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.provenance.brought[repo]
	found := map[remit.EntryIndex]bool{}
	for _, oid := range commits {
		key, err := hex.DecodeString(oid)
		if err != nil {
			return nil, 0, remit.Errorf(remit.BadRequest, "%q is not an object id in hex", oid)
		}
		if len(known[string(key)]) == 0 {
			outside++
		}
		for _, i := range known[string(key)] {
			found[i] = true
		}
	}
	for i := range found {
		entries = append(entries, i)
	}
	slices.Sort(entries)
	return entries, outside, nil
}
