package engine

import (
	"context"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// RecordFinding writes down what a detection found, and suspends its agent where the declarations let the detection.
// recorded is false where the log has it already, at entry: those who follow the log find a thing at least once.
func (e *Engine) RecordFinding(ctx context.Context, f authority.RecordFinding) (entry remit.EntryIndex, recorded bool, err error) {
	res, err := e.Do(ctx, &f)
	return res.Decision.Entry, res.ID != "", err
}
