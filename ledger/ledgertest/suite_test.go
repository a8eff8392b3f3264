package ledgertest_test

import (
	"errors"
	"testing"

	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

func TestMemory(t *testing.T) {
	ledgertest.Run(t, func(*testing.T, string) ledger.Store { return new(ledgertest.Memory) })
}

func TestFaultyFailsAsToldAndThenForGood(t *testing.T) {
	for _, test := range []struct {
		fault ledgertest.Fault
		err   error
		size  uint64
	}{{ledgertest.Works, nil, 1}, {ledgertest.NotApplied, ledger.ErrUnknown, 0}, {ledgertest.Applied, ledger.ErrUnknown, 1}, {ledgertest.Moved, ledger.ErrConflict, 0}} {
		inner := new(ledgertest.Memory)
		s := ledgertest.NewFaulty(inner, func() ledgertest.Fault { return test.fault })
		tree, hashes := ledger.Tree{}.Append(ledgertest.Leaf(0))
		b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(0)}, Hashes: hashes, Next: tree.Head(0)}
		if err := s.Append(t.Context(), ledger.Empty(), b); !errors.Is(err, test.err) {
			t.Errorf("fault %d: %v, want %v", test.fault, err, test.err)
		}
		if h, _ := inner.Head(t.Context()); h.Size != test.size {
			t.Errorf("fault %d: %d entries, want %d", test.fault, h.Size, test.size)
		}
		if errors.Is(test.err, ledger.ErrUnknown) {
			if err := s.Append(t.Context(), ledger.Empty(), b); !errors.Is(err, ledger.ErrUnknown) {
				t.Errorf("after an unknown outcome: %v, want ErrUnknown", err)
			}
		}
	}
}
