package authzen

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// What a batch stops at (AuthZEN §7.1.2.1).
const (
	executeAll    = "execute_all"
	firstDenial   = "deny_on_first_deny"
	firstApproval = "permit_on_first_permit"
)

// evaluation answers one question. A refusal is an answer like any other, with status 200 (§6.2.1): only what cannot be
// judged at all is an error.
func (p *Point) evaluation(w http.ResponseWriter, r *http.Request, c remit.Caller) error {
	m, err := read(r, maxBody)
	if err != nil {
		return err
	}
	return p.one(w, r, c, m)
}

// one answers the one question of a body.
func (p *Point) one(w http.ResponseWriter, r *http.Request, c remit.Caller, m members) error {
	q, err := m.question()
	if err != nil {
		return err
	}
	a, err := p.decide(r.Context(), c, q)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, a)
	return nil
}

// evaluations answers a list of questions one after another, in their order (AuthZEN §7). Without a list it is evaluation.
func (p *Point) evaluations(w http.ResponseWriter, r *http.Request, c remit.Caller) error {
	m, err := read(r, maxBatch)
	if err != nil {
		return err
	}
	var list []json.RawMessage
	if _, err := m.part("evaluations", &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return p.one(w, r, c, m)
	}
	if len(list) > maxEvaluations {
		return remit.Errorf(remit.TooLarge, "evaluations: %d questions; at most %d are asked at once", len(list), maxEvaluations)
	}
	stop, err := m.semantic()
	if err != nil {
		return err
	}
	def, err := m.question()
	if err != nil {
		return err
	}
	out := make([]answer, 0, len(list))
	for _, raw := range list {
		a := p.item(r.Context(), c, raw, def)
		out = append(out, a)
		if stop == firstDenial && !a.Decision || stop == firstApproval && a.Decision {
			break
		}
	}
	reply(w, http.StatusOK, struct {
		Evaluations []answer `json:"evaluations"`
	}{out})
	return nil
}

// semantic is what ends a batch before its end.
func (m members) semantic() (string, error) {
	var options members
	if _, err := m.part("options", &options); err != nil {
		return "", err
	}
	stop := executeAll
	if _, err := options.part("evaluations_semantic", &stop); err != nil {
		return "", err
	}
	if stop != executeAll && stop != firstDenial && stop != firstApproval {
		return "", remit.Errorf(remit.BadRequest, "options.evaluations_semantic: %.64q; write %s, %s or %s", stop, executeAll, firstDenial, firstApproval)
	}
	return stop, nil
}

// item answers one question of a batch. What is wrong with it is its own: the answer is no, and says why (§7.2.2).
func (p *Point) item(ctx context.Context, c remit.Caller, raw json.RawMessage, def Question) answer {
	a, err := p.itemOf(ctx, c, raw, def)
	if err == nil {
		return a
	}
	e := gateway.AsError(remit.Internal, err)
	message := e.Sentence
	if e.Code == remit.Internal {
		message = e.Code.Info().Meaning
	}
	return answer{Context: &Reason{Code: e.Code, Error: &itemError{e.Code.Info().HTTP, message}}}
}

func (p *Point) itemOf(ctx context.Context, c remit.Caller, raw json.RawMessage, def Question) (answer, error) {
	var m members
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return answer{}, remit.Errorf(remit.BadRequest, "an evaluation is an object")
	}
	q, err := m.question()
	if err != nil {
		return answer{}, err
	}
	if q.Subject, err = q.Subject.over(def.Subject, "subject"); err != nil {
		return answer{}, err
	}
	if q.Action, err = q.Action.over(def.Action, "action"); err != nil {
		return answer{}, err
	}
	if q.Resource, err = q.Resource.over(def.Resource, "resource"); err != nil {
		return answer{}, err
	}
	if q.Context == nil {
		q.Context = def.Context
	}
	return p.decide(ctx, c, q)
}

// decide answers a question, with the approval that it carries, if any.
func (p *Point) decide(ctx context.Context, c remit.Caller, q Question) (answer, error) {
	if err := q.check(Nothing); err != nil {
		return answer{}, err
	}
	if raw, ok := q.Context["approval"]; ok && p.Desk != nil {
		return p.again(ctx, c, q, raw)
	}
	return p.fresh(ctx, c, q)
}

// fresh answers a question that carries no approval. What people can be asked for comes with what they are asked by.
func (p *Point) fresh(ctx context.Context, c remit.Caller, q Question) (answer, error) {
	a, err := p.PDP.Evaluate(ctx, c, q)
	if err != nil {
		return answer{}, err
	}
	out := answer{Decision: a.Decision, Context: &a.Why}
	if !a.Decision && a.Requestable && p.Desk != nil {
		return out, p.offer(out.Context, c, q, a)
	}
	return out, nil
}
