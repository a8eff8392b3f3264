package sim

import (
	"context"
	"fmt"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// disk is what survives a crash: a log that is whole after every Append or as it was before.
type disk struct{ ledgertest.Memory }

func (d *disk) size() remit.EntryIndex {
	head, err := d.Head(context.Background())
	if err != nil {
		panic("sim: memory fails: " + err.Error())
	}
	return remit.EntryIndex(head.Size)
}

// fault is what goes wrong with an Append.
type fault int

const (
	lost    fault = iota + 1 // nothing was written, and nobody can tell
	silent                   // all of it was written, and nobody can tell
	refused                  // the disk is full: nothing was written
	beaten                   // another writer was faster, or so it seems
	faults
)

func (f fault) String() string {
	return [...]string{"works", "fails and is not applied", "is applied and reported failed", "is refused: no space", "is told that another writer was faster"}[f]
}

// appended is one Append, to be done again on another disk.
type appended struct {
	expect ledger.Head
	batch  ledger.Batch
}

// store is a disk as one process has it open. After what it cannot tell, and when its process is killed, nothing more of
// it reaches the disk.
type store struct {
	*disk
	w       *World
	unknown error
}

// Append: see ledger.Store.
func (s *store) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	if s.w.gate != nil {
		<-s.w.gate
	}
	f := s.w.fault
	s.w.fault = 0
	if s.unknown == nil && s.w.process != s {
		s.unknown = fmt.Errorf("%w: the process is gone", ledger.ErrUnknown)
	}
	if s.unknown == nil && s.w.dies() {
		f = lost
	}
	switch {
	case s.unknown != nil:
		return s.unknown
	case f == beaten:
		return ledger.ErrConflict
	case f == refused:
		return ledger.Refused(remit.NoSpace, "the disk is full")
	case f == lost:
		s.unknown = fmt.Errorf("%w: injected", ledger.ErrUnknown)
		return s.unknown
	}
	if err := s.disk.Append(ctx, expect, b); err != nil {
		return err
	}
	if s.w.record {
		s.w.recorded = append(s.w.recorded, appended{expect, b})
	}
	if f == silent || s.w.dies() {
		s.unknown = fmt.Errorf("%w: injected", ledger.ErrUnknown)
		return s.unknown
	}
	return nil
}
