package authority

import (
	"errors"
	"time"

	"github.com/remit-dev/remit"
)

// AnswerLife is how long what was asked under an Idempotency-Key is answered from the log
// (draft-ietf-httpapi-idempotency-key-header §2.3).
const AnswerLife = 24 * time.Hour

// KeepAnswer follows the command that did what was asked under an Idempotency-Key, in the same commit: there is never one
// without the other. The answer itself stands here, in a payload.
type KeepAnswer struct {
	Key      remit.Digest
	Body     remit.Digest
	ID       remit.ID       `json:",omitempty"`
	Decision remit.Decision `json:",omitzero"`
	Changes  []remit.Change `json:",omitempty"`
}

func (*KeepAnswer) name() string { return "answer.keep" }

// Kept is where an answer stands.
type Kept struct {
	Body  remit.Digest
	Entry remit.EntryIndex
	Until int64
}

// Answered tells what was kept under a key.
func (s *State) Answered(key remit.Digest, now int64) (k Kept, ok bool) {
	k, ok = s.Kept[key]
	return k, ok && now < k.Until
}

func decideKeep(s *State, now int64, c *KeepAnswer) ([]remit.Event, Result, error) {
	if c.Key.IsZero() || c.Body.IsZero() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "an answer is kept under a key, with what it answers")
	}
	if _, ok := s.Answered(c.Key, now); ok {
		return nil, Result{}, remit.Errorf(remit.KeyInUse, "this Idempotency-Key has its answer already")
	}
	return []remit.Event{&remit.AnswerKept{Key: c.Key, Body: c.Body}}, Result{}, nil
}

func (s *State) applyKept(n remit.EntryIndex, at int64, e *remit.AnswerKept) error {
	if _, ok := s.Answered(e.Key, at); ok || e.Key.IsZero() {
		return errors.New("a second answer under one Idempotency-Key")
	}
	if s.Kept == nil {
		s.Kept = map[remit.Digest]Kept{}
	}
	s.Kept[e.Key] = Kept{Body: e.Body, Entry: n, Until: at + int64(AnswerLife)}
	s.KeptAge = append(s.KeptAge, e.Key)
	return nil
}

// forgetAnswers forgets answers whose time is over. They stay in the log.
func (s *State) forgetAnswers(at int64) {
	for len(s.KeptAge) > 0 && at >= s.Kept[s.KeptAge[0]].Until {
		delete(s.Kept, s.KeptAge[0])
		s.KeptAge = s.KeptAge[1:]
	}
}
