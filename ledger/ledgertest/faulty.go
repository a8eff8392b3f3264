package ledgertest

import (
	"context"
	"fmt"
	"sync"

	"github.com/remit-dev/remit/ledger"
)

// Fault is what a Faulty store does with an Append.
type Fault int

const (
	Works      Fault = iota
	NotApplied       // ErrUnknown, and nothing was written
	Applied          // ErrUnknown, and all of it was written
	Moved            // ErrConflict, as if another writer had been there
)

// Faulty wraps a Store whose Append fails as told. As a real one it refuses every Append after an ErrUnknown; wrapping
// the inner store again is opening it again.
type Faulty struct {
	ledger.Store

	mu      sync.Mutex
	next    func() Fault
	unknown error
}

// NewFaulty asks next before each Append.
func NewFaulty(s ledger.Store, next func() Fault) *Faulty { return &Faulty{Store: s, next: next} }

// Append fails as told.
func (f *Faulty) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unknown != nil {
		return f.unknown
	}
	switch fault := f.next(); fault {
	case Moved:
		return ledger.ErrConflict
	case NotApplied, Applied:
		if fault == Applied {
			if err := f.Store.Append(ctx, expect, b); err != nil {
				return err
			}
		}
		f.unknown = fmt.Errorf("%w: injected", ledger.ErrUnknown)
		return f.unknown
	}
	return f.Store.Append(ctx, expect, b)
}
