package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// job is a command that waits for the writer. Until done is closed it is the writer's own.
type job struct {
	ctx      context.Context
	cmd      authority.Command
	once     Once
	payloads []remit.Payload
	result   authority.Result
	err      error
	broken   bool // its events do not follow each other: it is answered with err and not decided again
	done     chan struct{}
}

// group is what jobs decided together have made.
type group struct {
	batch  ledger.Batch
	leaves []ledger.Leaf
	taken  int // jobs that are in it; those after them go into the next commit
}

// write is the writer: it takes all that waits, decides each command on the state that the ones before it made, and
// commits them together. Nothing is held back to wait for more.
func (e *Engine) write(ctx context.Context) {
	defer close(e.done)
	for {
		var jobs []*job
		select {
		case <-ctx.Done():
			return
		case j := <-e.queue:
			jobs = append(jobs, j)
		}
	more:
		for len(jobs) < maxGroup {
			select {
			case j := <-e.queue:
				jobs = append(jobs, j)
			default:
				break more
			}
		}
		if err := e.commit(ctx, jobs); err != nil {
			return
		}
	}
}

// commit decides jobs and makes what they decided durable. It returns an error when the engine must stop.
func (e *Engine) commit(ctx context.Context, jobs []*job) error {
	for conflicts := 0; len(jobs) > 0; {
		g := e.decideAll(jobs)
		err := e.append(ctx, g)
		var refused *remit.Error
		switch {
		case err == nil:
			e.publish(g.leaves, g.batch.Entries)
			answer(jobs[:g.taken], nil)
			jobs, conflicts = jobs[g.taken:], 0
		case errors.Is(err, ledger.ErrConflict) && errors.As(err, &refused):
			// Nothing was written, and trying again would not help (the disk is full): these are denied, others may pass.
			e.cfg.Log.Error("the log refused a batch", "entries", len(g.batch.Entries), "err", err)
			e.working = copyState(e.committed)
			answer(jobs[:g.taken], refused)
			jobs, conflicts = jobs[g.taken:], 0
		case errors.Is(err, ledger.ErrConflict):
			// Another writer was faster: nothing was written. What was decided rests on what is not so; decide it again.
			if err := e.catchUp(ctx); err != nil {
				return e.fail(jobs, err)
			}
			if conflicts++; conflicts == maxConflicts {
				answer(jobs, remit.Errorf(remit.Overload, "another server keeps writing the log; try again"))
				return nil
			}
		default:
			return e.fail(jobs, err)
		}
	}
	return nil
}

// answer lets the callers go on; err, if any, is the answer of all of them.
func answer(jobs []*job, err *remit.Error) {
	for _, j := range jobs {
		if err != nil {
			j.result, j.err = authority.Result{}, err
		}
		close(j.done)
	}
}

func (e *Engine) fail(jobs []*job, err error) error {
	f := remit.Errorf(remit.LedgerDown, "the log cannot be written, so nothing is decided until the server is started again: %w", err)
	e.failed.Store(f)
	e.cfg.Log.Error("the writer stops", "err", err)
	answer(jobs, f)
	return f
}

// append makes a group durable. The tree moves only when it is.
func (e *Engine) append(ctx context.Context, g group) error {
	if len(g.batch.Entries) == 0 {
		return nil
	}
	tree, hashes := e.tree.Append(g.batch.Entries...)
	g.batch.Hashes, g.batch.Next = hashes, tree.Head(e.epoch)
	// A group is not one caller's: no caller's deadline may end it.
	if err := e.cfg.Store.Append(context.WithoutCancel(ctx), e.tree.Head(e.epoch), g.batch); err != nil {
		return err
	}
	e.tree = tree
	return nil
}

// catchUp reads what another writer appended, and forgets what was decided without it.
func (e *Engine) catchUp(ctx context.Context) error {
	working := copyState(e.committed)
	var leaves []ledger.Leaf
	tree, head, err := ledger.Replay(ctx, e.cfg.Store, e.tree, func(_ remit.EntryIndex, l ledger.Leaf) error {
		leaves = append(leaves, l)
		return e.apply(working, l.At.UnixNano(), l.Event)
	})
	if err != nil {
		return fmt.Errorf("reading what another writer appended: %w", err)
	}
	e.working, e.tree, e.epoch = working, tree, head.Epoch
	e.publish(leaves, nil)
	return nil
}

// decideAll decides as many of the jobs as go into one commit, at least one, on the working state.
func (e *Engine) decideAll(jobs []*job) (g group) {
	for g.taken < len(jobs) {
		j := jobs[g.taken]
		if j.broken {
			g.taken++
			continue
		}
		leaves, entries, commands := e.decide(j)
		if len(g.batch.Entries) > 0 && len(g.batch.Entries)+len(entries) > ledger.MaxBatch {
			return g // decided in the next commit
		}
		if len(entries) > ledger.MaxBatch {
			j.result, j.err = authority.Result{}, remit.Errorf(remit.TooLargeToJudge,
				"this makes %d entries and at most %d are written at once; do it in parts", len(entries), ledger.MaxBatch)
			leaves, entries = nil, nil
		}
		for _, l := range leaves {
			err := e.apply(e.working, l.At.UnixNano(), l.Event)
			if err == nil {
				continue
			}
			// A fault of the rules. Part of it may be applied already, so all others are decided again without it.
			e.cfg.Log.Error("a command's events do not follow each other", "kind", l.Event.Kind(), "err", err)
			j.broken, j.result = true, authority.Result{}
			j.err = remit.Errorf(remit.Internal, "a rule contradicts itself; nothing was done: %w", err)
			e.working = copyState(e.committed)
			return e.decideAll(jobs)
		}
		if len(entries) > 0 {
			g.batch.Payloads = append(append(g.batch.Payloads, commands...), j.payloads...)
		}
		for _, l := range leaves {
			if gone, ok := l.Event.(*remit.PayloadsErased); ok {
				g.batch.Erase = append(g.batch.Erase, gone.Payloads...)
			}
		}
		g.batch.Entries, g.leaves = append(g.batch.Entries, entries...), append(g.leaves, leaves...)
		g.taken++
	}
	return g
}

// decide decides one job on the working state, without changing that. It gives the events as a replay will read them, as
// they will be written, and the payloads that are its commands: one, and what keeps its answer.
func (e *Engine) decide(j *job) ([]ledger.Leaf, [][]byte, []remit.Payload) {
	none := func(err error) ([]ledger.Leaf, [][]byte, []remit.Payload) {
		j.result, j.err = authority.Result{}, err
		return nil, nil, nil
	}
	at, err := e.ready(j.cmd) // again: a drain, or doubt, may have begun while it waited
	if err != nil {
		return none(err)
	}
	if prev := time.Unix(0, e.working.Now); at.Before(prev) {
		at = prev
	}
	if killed(e.working, e.kills.all(), j.cmd) {
		return none(errKilled)
	}
	if _, kept := e.working.Answered(j.once.Key, at.UnixNano()); kept {
		return none(errAnswered)
	}
	events, result, err := e.judge(at, j.cmd)
	if err != nil {
		return none(err)
	}
	j.result, j.err = result, nil
	if len(events) == 0 {
		return nil, nil, nil
	}
	leaves, entries, command, err := e.written(j.ctx, at, j.cmd, events)
	if err != nil {
		return none(err)
	}
	commands := []remit.Payload{command}
	if j.once != (Once{}) {
		keep := j.once.keep(result)
		if events, _, err = e.judge(at, keep); err != nil {
			return none(err)
		}
		l, b, command, err := e.written(j.ctx, at, keep, events)
		if err != nil {
			return none(err)
		}
		leaves, entries, commands = append(leaves, l...), append(entries, b...), append(commands, command)
	}
	return leaves, entries, commands
}

// written gives the events of a command as leaves and as entries, and the payload that is the command.
func (e *Engine) written(ctx context.Context, at time.Time, c authority.Command, events []remit.Event) ([]ledger.Leaf, [][]byte, remit.Payload, error) {
	command, err := e.storeCommand(ctx, c)
	if err != nil {
		return nil, nil, command, err
	}
	leaves, entries := make([]ledger.Leaf, 0, len(events)), make([][]byte, 0, len(events))
	commit := command.Commitment()
	for _, ev := range events {
		b, err := ledger.Encode(ledger.Leaf{At: at, Command: commit, Event: ev})
		if err != nil {
			return nil, nil, command, remit.Errorf(remit.TooLargeToJudge, "this cannot be recorded, so it is denied: %w", err)
		}
		// What is applied is what a replay will read, not what was meant.
		l, err := ledger.Decode(b)
		if err != nil {
			return nil, nil, command, remit.Errorf(remit.Internal, "this could not be read again, so it is denied: %w", err)
		}
		leaves, entries, commit = append(leaves, l), append(entries, b), remit.Digest{}
	}
	return leaves, entries, command, nil
}

// judge runs Decide, and the policy again where the state moved since the caller's own judgement. A fault of the rules
// denies the one command that met it.
func (e *Engine) judge(at time.Time, c authority.Command) (_ []remit.Event, _ authority.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			e.cfg.Log.Error("deciding a command", "panic", r, "stack", string(debug.Stack()))
			err = remit.Errorf(remit.Internal, "a rule failed; nothing was done")
		}
	}()
	for {
		events, res, err := authority.Decide(e.working, at, c)
		var stale *authority.Stale
		if !errors.As(err, &stale) {
			return events, res, err
		}
		a, ok := c.(*authority.Authorize)
		if !ok {
			return nil, res, remit.Errorf(remit.Internal, "only requests are judged by policy")
		}
		a.Judged = e.judged(stale.Facts, e.working.Policy)
	}
}

// publish makes committed entries visible, cuts what they end, and wakes everybody who waits.
func (e *Engine) publish(leaves []ledger.Leaf, entries [][]byte) {
	if len(leaves) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range leaves {
		if err := e.apply(e.committed, l.At.UnixNano(), l.Event); err != nil {
			panic("engine: what was decided cannot be applied: " + err.Error())
		}
	}
	if e.tail.add(entries); e.tail.next != e.committed.Next {
		e.tail = tail{next: e.committed.Next} // another writer's: they are read from the store
	}
	close(e.changed)
	e.changed = make(chan struct{})
	if slices.ContainsFunc(leaves, func(l ledger.Leaf) bool { return mayEnd(l.Event) }) {
		close(e.ended)
		e.ended = make(chan struct{})
	}
	e.sweep(leaves)
}
