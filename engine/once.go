package engine

import (
	"context"
	"errors"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Once is under which key a command is done once, and what of. Both are keyed digests; the zero value is no key.
type Once struct{ Key, Body remit.Digest }

// errAnswered: the writer found the answer of a job's key; whoever waits reads it where it is kept.
var errAnswered = errors.New("engine: it has its answer already")

// DoOnce is Do for what somebody may ask again because its answer was lost: the same key with the same body gives the
// answer of the first time for authority.AnswerLife, also after a restart, and does nothing. The command and its answer are
// one commit, so that a crash leaves both or neither. What is refused, or changes nothing, is not kept.
func (e *Engine) DoOnce(ctx context.Context, once Once, c authority.Command, payloads ...remit.Payload) (authority.Result, error) {
	if once == (Once{}) {
		return e.Do(ctx, c, payloads...)
	}
	if res, ok, err := e.answered(ctx, once); ok || err != nil {
		return res, err
	}
	if _, err := e.ready(c); err != nil {
		return authority.Result{}, err
	}
	res, err := e.do(ctx, c, once, payloads)
	if !errors.Is(err, errAnswered) {
		return res, err
	}
	res, ok, err := e.answered(ctx, once) // somebody was faster
	if err == nil && !ok {
		err = remit.Errorf(remit.KeyInUse, "a request with this Idempotency-Key is still being done; ask again")
	}
	return res, err
}

// answered is what was kept under a key.
func (e *Engine) answered(ctx context.Context, once Once) (res authority.Result, ok bool, err error) {
	var kept authority.Kept
	now := e.Now().UnixNano()
	e.View(func(s *authority.State) { kept, ok = s.Answered(once.Key, now) })
	switch {
	case !ok:
		return res, false, nil
	case kept.Body != once.Body:
		return res, true, remit.Errorf(remit.KeyReused, "another request was made with this Idempotency-Key; take a new one for each")
	}
	_, cmd, err := e.Entry(ctx, kept.Entry)
	if err != nil {
		return res, true, err
	}
	k, ok := cmd.(*authority.KeepAnswer)
	if !ok {
		return res, true, remit.Errorf(remit.KeyReused, "what was asked with this Idempotency-Key was done, and its answer was erased")
	}
	return authority.Result{ID: k.ID, Decision: k.Decision, Changes: k.Changes}, true, nil
}

// keep is what follows a command that was done under a key.
func (o Once) keep(r authority.Result) *authority.KeepAnswer {
	return &authority.KeepAnswer{Key: o.Key, Body: o.Body, ID: r.ID, Decision: r.Decision, Changes: r.Changes}
}
