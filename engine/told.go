package engine

import (
	"context"
	"time"

	"github.com/remit-dev/remit/authority"
)

// Told derives a request again on the state before it and gives what its caller was told then, with the sentences,
// which no leaf carries. It is for those who read a log without an engine, from within Deriver.Decided.
func Told(ctx context.Context, s *authority.State, at time.Time, c *authority.Authorize, policies Policies) (authority.Result, error) {
	again := *c
	again.Judged = nil
	_, res, err := derive(ctx, s, at, &again, policies)
	return res, err
}
