package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// tries is how often a forge is asked that has not yet looked whether a pull request merges.
const tries = 20

// merge has the forge merge, with the head as compare-and-swap, and looks at what it made.
//
// Where it can break, and what is then known:
//
//	base or head has moved                 nothing is sent: not_applied STALE
//	the forge refuses                      not_applied, once the pull request was seen to be open
//	no answer, or a merge of another base  the pull request is read: done only if the commit has parents {base, head} and
//	                                       the tree that was decided about; merged otherwise: ambiguous, a person looks
func (g *Gateway) merge(ctx context.Context, f Forge, o order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	if err := g.unmoved(ctx, f, o); err != nil {
		return g.not(w, gateway.AsError(remit.UpstreamDown, err))
	}
	base, err := g.tip(ctx, f, repoOf(o.Path)+"/branches/"+escape(strings.TrimPrefix(o.Bind.Ref, "refs/heads/"), true))
	if err == nil && base != o.Bind.Base {
		err = remit.Errorf(remit.Stale, "%s has moved from %s to %s since the merge was decided; ask again", o.Bind.Ref, o.Bind.Base, base)
	}
	if err != nil {
		return g.not(w, gateway.AsError(remit.UpstreamDown, err))
	}

	status, header, body, err := g.post(ctx, f, o, cred)
	// The forge looks at a new pull request in the background; until it has, it answers 405 and asks for patience.
	for n := 1; err == nil && status == http.StatusMethodNotAllowed && strings.Contains(strings.ToLower(string(body)), "try again") && n < tries; n++ {
		select {
		case <-ctx.Done():
			return g.not(w, remit.Errorf(remit.UpstreamDown, "forge %s was still looking at the pull request when the time was over", f.Name))
		case <-time.After(g.Again):
		}
		status, header, body, err = g.post(ctx, f, o, cred)
	}
	if errors.Is(err, errUnsent) {
		return g.unclear(w, err)
	}
	// Whatever it answered: what counts is what is there now.
	seeing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	res, lookErr := g.merged(seeing, f, o)
	switch {
	case lookErr != nil:
		return g.unclear(w, lookErr)
	case res.Outcome == remit.NotApplied && err == nil && status < 300:
		res.Outcome, res.Code = remit.Ambiguous, remit.UpstreamDown
		res.Receipt = receipt{Status: status, Bind: o.Bind, Said: "the forge says that it merged, but the pull request is not merged", Answer: body}.encode()
	case res.Outcome == remit.NotApplied && (err != nil && !errors.Is(err, errAnswered) || status >= 500):
		res.Outcome, res.Code = remit.Ambiguous, remit.UpstreamDown // it may still be at work
	case res.Outcome == remit.NotApplied:
		res.Code = codeOf(status)
		res.Receipt = receipt{Status: status, Bind: o.Bind, Answer: body}.encode()
		if status == http.StatusConflict {
			res.Code = remit.Stale
		}
	}
	if res.Outcome == remit.Ambiguous {
		g.Log.Error("a merge is not what was decided", "forge", f.Name, "repo", o.Repo, "pull", o.Bind.Pull, "made", res.Made)
	}
	switch {
	case w == nil:
	case res.Outcome == remit.Done && err != nil:
		g.relay(w, http.StatusOK, nil, nil)
	case res.Outcome == remit.Done, res.Outcome == remit.NotApplied && err == nil:
		g.relay(w, status, header, body)
	case err != nil:
		g.fail(w, gateway.AsError(remit.UpstreamDown, err), nil)
	default:
		g.fail(w, remit.Errorf(remit.Conflict, "what the forge merged is not what was decided, or nobody can tell; a person looks at pull request %d", o.Bind.Pull), nil)
	}
	return res
}

// merged looks what became of a merge.
func (g *Gateway) merged(ctx context.Context, f Forge, o order) (gateway.Result, error) {
	var p pullNow
	if err := g.observe(ctx, f, repoOf(o.Path)+"/pulls/"+itoa(o.Bind.Pull), &p); err != nil {
		return gateway.Result{}, err
	}
	if !p.Merged {
		return gateway.Result{Outcome: remit.NotApplied, Receipt: receipt{Bind: o.Bind, Said: "seen at the forge: it is not merged"}.encode()}, nil
	}
	if !isCommit(p.Commit) {
		return gateway.Result{}, remit.Errorf(remit.UpstreamDown, "forge %s says that pull request %d is merged, but not by which commit", f.Name, o.Bind.Pull)
	}
	r := receipt{Bind: o.Bind, Commit: p.Commit}
	var err error
	if r.Tree, r.Parents, err = g.Git.Commit(ctx, o.Repo, p.Commit); err != nil {
		return gateway.Result{}, err
	}
	if !o.Bind.matches(r.Parents, r.Tree) {
		r.Said = "it was merged, but the commit has other parents or another tree than was decided"
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.Stale, Made: p.Commit, Receipt: r.encode()}, nil
	}
	return gateway.Result{Outcome: remit.Done, Made: p.Commit, Receipt: r.encode()}, nil
}
