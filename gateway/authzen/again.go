package authzen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/remit-dev/remit"
)

// What an enforcement point does next, and why (profile, Approval and Re-evaluation).
const (
	nextRequest = "request"
	nextRetry   = "retry"
	nextNone    = "none"

	approvalRequired     = "approval_required"
	approvalExpired      = "approval_expired"
	outOfScope           = "out_of_scope"
	grantPending         = "grant_pending"
	policyDenied         = "policy_denied"
	approvalUnverifiable = "approval_unverifiable"
)

// retryAfter is how long to wait for votes that are missing, in seconds.
const retryAfter = 30

// approvalBounds is what an allow that rests on an approval says of it.
type approvalBounds struct {
	ID    string    `json:"id"`
	Until time.Time `json:"approved_until"`
}

// again answers a question that carries an approval. An approval is never enough by itself: it has to be of this point,
// of the caller's own task, in force, and of this very question; then the request is judged again by the policy of now,
// and the approval is spent.
func (p *Point) again(ctx context.Context, c remit.Caller, q Question, raw json.RawMessage) (answer, error) {
	var in struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	if err := remit.DecodeKnown(bytes.NewReader(raw), maxToken, &in); err != nil {
		return answer{}, remit.Errorf(remit.BadRequest, "context.approval: %w", err)
	}
	h, why, err := p.resolve(ctx, c, in.ID, in.State)
	if err != nil {
		return answer{}, err
	}
	if why != "" {
		return refused(approvalUnverifiable, nextNone, why), nil
	}
	o, err := orderOf(h)
	if err != nil {
		return answer{}, remit.Errorf(remit.Internal, "what %s was asked for cannot be read: %w", h.Access, err)
	}
	same, err := q.isBound(o.Hash, o.Members)
	switch {
	case err != nil:
		return answer{}, err
	case !same:
		return p.anew(ctx, c, q, outOfScope)
	case h.Status == remit.AccessOpen:
		return waiting("the approval waits for further votes"), nil
	case h.Status != remit.AccessMet || !p.Now().Before(o.until(h)):
		return p.anew(ctx, c, q, approvalExpired)
	}
	d, until, err := p.Desk.Use(ctx, c, q, h.Access)
	var e *remit.Error
	switch {
	case errors.As(err, &e) && (e.Code == remit.AlreadyUsed || e.Code == remit.Expired || e.Code == remit.NotFound):
		return p.anew(ctx, c, q, approvalExpired) // somebody else was faster
	case err != nil:
		return answer{}, err
	case d.Verdict == remit.Allow:
		if end := o.until(h); end.Before(until) {
			until = end
		}
		out := answer{Decision: true, Context: explain(d)}
		out.Context.Approval = &approvalBounds{in.ID, until.UTC()}
		return out, nil
	case d.Code == remit.PolicyHeld:
		return waiting(d.Sentence), nil
	}
	out := answer{Context: explain(d)}
	out.Context.Reason, out.Context.Next = policyDenied, nextNone
	return out, nil
}

// resolve finds the request that an approval is of. why says what is wrong with it.
func (p *Point) resolve(ctx context.Context, c remit.Caller, id, state string) (h Held, why string, err error) {
	access, ok := p.handled(approvalHandle, id)
	if !ok {
		return h, "context.approval.id is no approval of this decision point", nil
	}
	h, err = p.Desk.Look(ctx, c, access)
	var e *remit.Error
	switch {
	case errors.As(err, &e) && e.Code == remit.NotFound:
		return h, "context.approval.id is no approval of the caller's task", nil
	case err != nil:
		return h, "", err
	case state == "":
		return h, "", nil // the id is looked up where it was kept
	}
	s, err := p.signs.verify(approvalType, state, p.Base)
	if err != nil {
		return h, "context.approval.state: " + err.Error(), nil
	}
	o, err := orderOf(h)
	if err != nil || s.Approval != id || s.Task != c.Task || s.Hash != o.Hash {
		return h, "context.approval.state is of another approval", nil
	}
	return h, "", nil
}

// anew answers as if there were no approval, and says what was wrong with the one that there was.
func (p *Point) anew(ctx context.Context, c remit.Caller, q Question, reason string) (answer, error) {
	a, err := p.fresh(ctx, c, q)
	if err != nil || a.Decision {
		return a, err
	}
	a.Context.Reason, a.Context.Next = reason, nextNone
	if a.Context.Request != nil {
		a.Context.Next = nextRequest
	}
	return a, nil
}

func refused(reason, next, sentence string) answer {
	return answer{Context: &Reason{Reason: reason, Next: next, Sentence: sentence}}
}

func waiting(sentence string) answer {
	a := refused(grantPending, nextRetry, sentence)
	a.Context.RetryAfter = retryAfter
	return a
}

// explain is a decision as the context of an answer.
func explain(d remit.Decision) *Reason {
	return &Reason{Verdict: &d.Verdict, Code: d.Code, Rules: d.Rules, Sentence: d.Sentence, Entry: d.Entry}
}
