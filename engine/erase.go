package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Erasure gathers what stands at entries of the log and can be erased. It is filled by Entry and handed to Erase.
type Erasure struct {
	Command authority.ErasePayloads
	// Requests are those of which the commands go: what else they name (packs) goes with them.
	Requests []remit.Request

	e    *Engine
	seen map[remit.Digest]bool
}

// NewErasure begins to gather.
func (e *Engine) NewErasure(c authority.ErasePayloads) *Erasure {
	return &Erasure{Command: c, e: e, seen: map[remit.Digest]bool{}}
}

// Entry adds the payloads that an entry and its command name. With all false the commands stay that hold nothing but ids,
// codes and digests, so that what they decided is still derived.
func (x *Erasure) Entry(ctx context.Context, i remit.EntryIndex, all bool) error {
	l, c, err := x.e.Entry(ctx, i)
	if err != nil {
		return err
	}
	before := len(x.Command.Payloads)
	for _, d := range payloadsOf(l.Event) {
		if err := x.take(ctx, d); err != nil {
			return err
		}
	}
	x.tasks(l.Event)
	if c != nil && (all || wordy(c)) {
		if err := x.command(ctx, i, l, c); err != nil {
			return err
		}
	}
	if len(x.Command.Payloads) > before {
		x.Command.Entries = append(x.Command.Entries, i)
	}
	return nil
}

// wordy tells which commands hold what somebody wrote, or what tells of a person or a machine.
func wordy(c authority.Command) bool {
	switch c.(type) {
	case *authority.Authorize, *authority.CreateTask, *authority.CreateChild, *authority.StartJob, *authority.StartInstance, *authority.CastVote:
		return true
	}
	return false
}

// command adds a command itself and what it alone names.
func (x *Erasure) command(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, c authority.Command) error {
	p, err := x.e.cfg.Store.Payload(ctx, l.Command)
	if err != nil {
		return err
	}
	x.Command.Blobs = append(x.Command.Blobs, Attached(p.Body)...)
	named := []remit.Digest{l.Command}
	switch c := c.(type) {
	case *authority.Authorize:
		x.Requests = append(x.Requests, c.Request)
		named = append(named, c.Request.Card)
		if c.Request.Child != nil {
			named = append(named, c.Request.Child.Intent)
		}
		x.brought(i, l.Event, c.Request)
	case *authority.AbandonLease:
		named = append(named, c.Reason)
	case *authority.ErasePayloads:
		named = append(named, c.Reason)
	}
	for _, d := range named {
		if err := x.take(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// brought keeps which commits an allowed push brought: who is behind them decides who may vote on what comes of them.
func (x *Erasure) brought(i remit.EntryIndex, e remit.Event, r remit.Request) {
	d, ok := e.(*remit.Decided)
	if !ok || d.Verdict != remit.Allow {
		return
	}
	for _, f := range d.Steps {
		if f.Step.Action != "source.push" || f.Step.Effect {
			continue
		}
		b := remit.Brought{Entry: i, Repo: f.Step.Resource}
		for _, ref := range r.Refs {
			b.Commits = append(b.Commits, ref.Brought...)
		}
		slices.Sort(b.Commits)
		if b.Commits = slices.Compact(b.Commits); len(b.Commits) > 0 {
			x.Command.Brought = append(x.Command.Brought, b)
		}
		return
	}
}

// tasks notes whose entry it is: what is live is not erased.
func (x *Erasure) tasks(e remit.Event) {
	var access, task remit.ID
	switch e := e.(type) {
	case *remit.TaskCreated:
		task = e.ID
	case *remit.Decided:
		task = e.Task
	case *remit.InstanceStarted:
		task = e.Task
	case *remit.AccessOpened:
		task = e.Task
	case *remit.LeaseOpened:
		task = e.Task
	case *remit.VoteCast:
		access = e.Access
	case *remit.AccessMoved:
		access = e.Access
	}
	if access != "" {
		x.e.View(func(s *authority.State) {
			if a := s.Accesses[access]; a != nil {
				task = a.Task
			}
		})
	}
	if at, there := slices.BinarySearch(x.Command.Tasks, task); task != "" && !there {
		x.Command.Tasks = slices.Insert(x.Command.Tasks, at, task)
	}
}

// payloadsOf are the commitments in an event.
func payloadsOf(e remit.Event) []remit.Digest {
	switch e := e.(type) {
	case *remit.TaskCreated:
		return []remit.Digest{e.Intent}
	case *remit.InstanceStarted:
		return []remit.Digest{e.Claims}
	case *remit.AccessOpened:
		return []remit.Digest{e.Shown}
	case *remit.Recorded:
		return []remit.Digest{e.Receipt}
	case *remit.LeaseMoved:
		return []remit.Digest{e.Receipt}
	case *remit.UpstreamScanned:
		return e.Report
	case *remit.PersonDeclared:
		return []remit.Digest{e.Name}
	case *remit.AgentDeclared:
		return []remit.Digest{e.Text}
	case *remit.UpstreamDeclared:
		return []remit.Digest{e.Spec}
	case *remit.EnvironmentDeclared:
		return []remit.Digest{e.Spec}
	case *remit.SecretDeclared:
		return []remit.Digest{e.Spec}
	case *remit.ToolDeclared:
		return []remit.Digest{e.Spec}
	case *remit.PayloadsErased:
		return []remit.Digest{e.Reason}
	}
	return nil
}

// take adds a payload that is there.
func (x *Erasure) take(ctx context.Context, d remit.Digest) error {
	if d.IsZero() || x.seen[d] {
		return nil
	}
	x.seen[d] = true
	_, err := x.e.cfg.Store.Payload(ctx, d)
	switch {
	case errors.Is(err, ledger.ErrErased), errors.Is(err, ledger.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	x.Command.Payloads = append(x.Command.Payloads, d)
	return nil
}

// Erase takes payloads away, and the blobs that hold what was too large for one. The payloads go in the transaction
// that says so; of the blobs, FinishErasures at the next start finds what a crash left.
func (e *Engine) Erase(ctx context.Context, once Once, c *authority.ErasePayloads, payloads ...remit.Payload) (authority.Result, error) {
	slices.Sort(c.Entries)
	for _, d := range c.Payloads {
		// The store refuses the whole group that asks it to erase what it never had.
		if _, err := e.cfg.Store.Payload(ctx, d); err != nil && !errors.Is(err, ledger.ErrErased) {
			return authority.Result{}, remit.Errorf(remit.NotFound, "what would be erased is not there: %w", err)
		}
	}
	res, err := e.DoOnce(ctx, once, c, payloads...)
	if err != nil || res.Decision.Verdict != remit.Allow {
		return res, err
	}
	return res, e.eraseBlobs(ctx, c.Blobs)
}

func (e *Engine) eraseBlobs(ctx context.Context, blobs []remit.Digest) error {
	for _, d := range blobs {
		if err := e.cfg.Blobs.Erase(ctx, d); err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
	}
	return nil
}

// FinishErasures erases the blobs of erasures that a crash cut short. It is called at start.
func (e *Engine) FinishErasures(ctx context.Context) error {
	by := map[remit.EntryIndex]bool{}
	e.View(func(s *authority.State) {
		for _, i := range s.Erased {
			by[i] = true
		}
	})
	for i := range by {
		_, cmd, err := e.Entry(ctx, i)
		if err != nil {
			return err
		}
		if c, ok := cmd.(*authority.ErasePayloads); ok {
			if err := e.eraseBlobs(ctx, c.Blobs); err != nil {
				return err
			}
		}
	}
	return nil
}
