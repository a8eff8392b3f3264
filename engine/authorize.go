package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Authorize decides a gateway's request. The policy is judged on the caller's own core, over the committed state; the
// writer keeps the finding if nothing that it rests on has changed since.
func (e *Engine) Authorize(ctx context.Context, r remit.Request, payloads ...remit.Payload) (remit.Decision, error) {
	cmd := &authority.Authorize{Request: r}
	now, err := e.ready(cmd)
	if err != nil {
		return remit.Decision{}, err
	}
	by := e.terms() // before it is judged: a denial under these is no answer under others
	if e.repeats.some() {
		if d, ok := e.repeats.seen(by.key(r), now); ok {
			return d, nil
		}
	}
	var facts authority.Facts
	var digest remit.Digest
	var ended bool
	var preview authority.Result
	e.View(func(s *authority.State) {
		if ended = killed(s, e.kills.all(), cmd); ended {
			return
		}
		if r.Preview {
			_, preview, err = authority.Decide(s, now, cmd)
			return
		}
		facts, digest = authority.FactsOf(s, r, now.UnixNano()), s.Policy
	})
	switch {
	case ended:
		return deniedByKill(), nil
	case r.Preview && err == nil && preview.Decision.Verdict == remit.Allow:
		return preview.Decision, nil
	case !r.Preview && !digest.IsZero():
		cmd.Judged = e.judged(facts, digest)
	}
	secret, err := e.secret()
	if err != nil {
		return remit.Decision{}, err
	}
	cmd.Hash = remit.Hash(secret[:])
	res, err := e.do(ctx, cmd, Once{}, payloads)
	switch {
	case errors.Is(err, errKilled):
		return deniedByKill(), nil
	case err != nil:
		return remit.Decision{}, err
	}
	d := res.Decision
	if d.Permit.ID != "" {
		d.Permit.Secret = secret
	}
	if repeatable(r, d) {
		e.repeats.first(by.key(r), d, e.Now())
	}
	return d, nil
}

// deniedByKill answers what a kill ends that the log has not taken yet. It names no entry: there is none.
func deniedByKill() remit.Decision {
	return remit.Decision{Verdict: remit.Deny, Code: errKilled.Code, Rules: []string{"R11"}, Sentence: errKilled.Sentence}
}

func (e *Engine) secret() (s [32]byte, err error) {
	if _, err := io.ReadFull(e.cfg.Random, s[:]); err != nil {
		return s, remit.Errorf(remit.Internal, "no randomness: %w", err)
	}
	return s, nil
}

// Redeem spends a permit (R8). The entry that it writes is the linearisation point.
func (e *Engine) Redeem(ctx context.Context, p remit.Permit) (remit.Attempt, error) {
	secret, err := e.secret()
	if err != nil {
		return remit.Attempt{}, err
	}
	cmd := &authority.Redeem{Permit: p.ID, Proof: remit.Hash(p.Secret[:]), Hash: remit.Hash(secret[:])}
	var ended bool
	e.View(func(s *authority.State) { ended = killed(s, e.kills.all(), cmd) })
	if ended {
		return remit.Attempt{}, errKilled
	}
	res, err := e.Do(ctx, cmd)
	if err != nil {
		return remit.Attempt{}, err
	}
	a := res.Attempt
	a.Secret, a.NotAfter = secret, time.Unix(0, res.Redemption.NotAfter())
	e.redeemed(a, res.Redemption)
	return a, nil
}
