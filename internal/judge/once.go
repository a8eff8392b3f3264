package judge

import (
	"time"

	"github.com/remit-dev/remit"
)

// kept: a day long, one Idempotency-Key has one answer: what was asked under it was done once.
func (j *Judge) kept(at int64, e *remit.AnswerKept) string {
	if until, ok := j.answers[e.Key]; ok && at < until {
		return "log: what was asked under one Idempotency-Key was done twice"
	}
	if e.Key.IsZero() || e.Body.IsZero() {
		return "log: an answer was kept under no key"
	}
	j.answers[e.Key] = at + int64(24*time.Hour)
	return ""
}
