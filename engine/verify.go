package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Meaning is what deriving a log again found. A decision is derived when its command gives the same events under the
// rules and the policy in force at its entry, bound when its command was erased and only the compiled rules of Apply
// vouch for it, and wrong otherwise.
type Meaning struct {
	Entries int      `json:"entries"`
	Derived int      `json:"derived"`
	Bound   int      `json:"bound"`
	Limits  int      `json:"limits"` // denials for time-outs and overload, which no replay can derive
	Wrong   []string `json:"wrong,omitempty"`
	// Erased are the first entries of the bound commands, by the entry that erased them.
	Erased map[remit.EntryIndex][]remit.EntryIndex `json:"erased,omitempty"`
}

// maxWrong is how many contradictions are told; one is enough.
const maxWrong = 20

// Deriver derives a log again, entry by entry, from what it is given: nothing of a running engine is in it.
type Deriver struct {
	Policies Policies
	// Payload and Blob give what was kept beside the log. ledger.ErrErased makes a decision bound; what is missing
	// without having been erased is wrong.
	Payload func(remit.Digest) ([]byte, error)
	Blob    func(remit.Digest) ([]byte, error)
	// Decided, if set, is told of each request with the state before it.
	Decided func(s *authority.State, at time.Time, i remit.EntryIndex, c *authority.Authorize, d *remit.Decided)

	state   *authority.State
	first   remit.EntryIndex
	group   []ledger.Leaf
	bound   map[remit.Digest]remit.EntryIndex // commands that are gone, and no entry yet says so
	meaning Meaning
}

// Entry takes the next entry.
func (d *Deriver) Entry(ctx context.Context, i remit.EntryIndex, l ledger.Leaf) error {
	if d.state == nil {
		d.state = authority.New()
	}
	if !l.Command.IsZero() {
		if err := d.flush(ctx); err != nil {
			return err
		}
		d.first = i
	} else if len(d.group) == 0 {
		return fmt.Errorf("entry %d belongs to no command", i)
	}
	d.group = append(d.group, l)
	d.meaning.Entries++
	return nil
}

// Finish gives the result. An error means that the entries cannot be folded at all.
func (d *Deriver) Finish(ctx context.Context) (Meaning, error) {
	if d.state == nil {
		return d.meaning, errors.New("the log is empty")
	}
	err := d.flush(ctx)
	for _, i := range slices.Sorted(maps.Values(d.bound)) {
		d.wrong("entry %d: its command was erased, and no entry says so", i)
	}
	return d.meaning, err
}

// State is the state at the end.
func (d *Deriver) State() *authority.State { return d.state }

func (d *Deriver) wrong(format string, args ...any) {
	if len(d.meaning.Wrong) < maxWrong {
		d.meaning.Wrong = append(d.meaning.Wrong, fmt.Sprintf(format, args...))
	}
}

// flush derives the events of one command and applies what the log says.
func (d *Deriver) flush(ctx context.Context) error {
	if len(d.group) == 0 {
		return nil
	}
	if err := d.derive(ctx); err != nil {
		return err
	}
	for i, l := range d.group {
		if gone, ok := l.Event.(*remit.PayloadsErased); ok {
			at := d.first + remit.EntryIndex(i)
			for _, p := range gone.Payloads {
				if command, bound := d.bound[p]; bound {
					d.meaning.Erased[at] = append(d.meaning.Erased[at], command)
					delete(d.bound, p)
				}
			}
		}
		if err := authority.Apply(d.state, l.At.UnixNano(), l.Event); err != nil {
			return err
		}
	}
	d.group = d.group[:0]
	return nil
}

func (d *Deriver) derive(ctx context.Context) error {
	head := d.group[0]
	body, err := d.Payload(head.Command)
	switch {
	case errors.Is(err, ledger.ErrErased):
		d.meaning.Bound++
		if d.bound == nil {
			d.bound, d.meaning.Erased = map[remit.Digest]remit.EntryIndex{}, map[remit.EntryIndex][]remit.EntryIndex{}
		}
		d.bound[head.Command] = d.first
		return nil
	case errors.Is(err, ledger.ErrNotFound):
		d.wrong("entry %d: its command is missing and was not erased", d.first)
		return nil
	case err != nil:
		return err
	}
	c, err := decodeCommand(body, d.Blob)
	if err != nil {
		d.wrong("entry %d: its command cannot be read: %v", d.first, err)
		return nil
	}
	logged, isDecision := head.Event.(*remit.Decided)
	if a, ok := c.(*authority.Authorize); ok && isDecision && d.Decided != nil {
		d.Decided(d.state, head.At, d.first, a, logged)
	}
	policies, limit := d.Policies, isDecision && limited(logged)
	if limit {
		// What the policy could not say then is taken from the log; all that follows from it is derived.
		policies = saying{logged}
	}
	events, err := Derive(ctx, d.state, head.At, c, policies)
	if err != nil {
		d.wrong("entry %d: its command is refused when it is decided again: %v", d.first, err)
		return nil
	}
	if len(events) != len(d.group) {
		d.wrong("entry %d: its command makes %d entries, the log has %d", d.first, len(events), len(d.group))
		return nil
	}
	for i, ev := range events {
		want, err := ledger.Encode(d.group[i])
		if err != nil {
			return err
		}
		// The events of one command have one time.
		l := ledger.Leaf{At: head.At, Event: ev}
		if i == 0 {
			l.Command = head.Command
		}
		if got, err := ledger.Encode(l); err != nil || !bytes.Equal(got, want) {
			d.wrong("entry %d (%s) is not what its command makes", d.first+remit.EntryIndex(i), d.group[i].Event.Kind())
			return nil
		}
	}
	if limit {
		d.meaning.Limits++
		return nil
	}
	d.meaning.Derived++
	return nil
}

// limited tells whether a decision is a deny of class limit: a policy that took too long or could not be read.
func limited(d *remit.Decided) bool {
	return d.Verdict == remit.Deny && (d.Code == remit.PolicyTimeout || d.Code == remit.Overload || d.Code == remit.NoPolicy && !d.Policy.IsZero())
}

// saying is a policy that says what a logged deny of class limit says.
type saying struct{ d *remit.Decided }

func (s saying) Policy(context.Context, remit.Digest) (authority.Policy, error) { return s, nil }
func (s saying) Digest() remit.Digest                                           { return s.d.Policy }
func (s saying) Judge(authority.Facts) authority.Finding {
	return authority.Finding{Verdict: remit.Deny, Code: s.d.Code, Rules: s.d.Rules, Limit: true}
}

// Derive decides a command on a state, judged by the policy that the state says is in force.
func Derive(ctx context.Context, s *authority.State, at time.Time, c authority.Command, policies Policies) ([]remit.Event, error) {
	events, _, err := derive(ctx, s, at, c, policies)
	return events, err
}
