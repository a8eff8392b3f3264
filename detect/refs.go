package detect

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// StaleRead is for how long the value before a push may still be what a decision rests on: the ref was read before.
const StaleRead = 2 * time.Minute

// refMoved finds a ref that stands elsewhere than where Remit last put it: somebody pushed, merged or reset around it.
// Where a ref stands is known from what a gateway read for a decision that did not deny; what a denied request says of it
// is a claim of the agent's. A push of which the outcome is unknown leaves both values possible.
type refMoved struct {
	refs     map[string]*known
	permits  map[remit.ID]permit
	attempts map[remit.ID][]move
}

// permit is what an allow would move, until it has expired.
type permit struct {
	moves    []move
	notAfter int64
}

type move struct{ ref, to string }

// manyPermits is how many are kept before those that expired are looked for.
const manyPermits = 1024

// known are the values at which a ref may stand.
type known struct{ values []value }

type value struct {
	oid   string           // empty: the ref does not exist
	until time.Time        // zero: for good
	entry remit.EntryIndex // that shows it
}

func newRefMoved() *refMoved {
	return &refMoved{refs: map[string]*known{}, permits: map[remit.ID]permit{}, attempts: map[remit.ID][]move{}}
}

func (m *refMoved) fold(e Entry) []Finding {
	switch ev := e.Event.(type) {
	case *remit.Decided:
		return m.decided(e, ev)
	case *remit.Redeemed:
		m.attempts[ev.ID] = m.permits[ev.Permit].moves
		delete(m.permits, ev.Permit)
		for _, mv := range m.attempts[ev.ID] { // from here on it may have moved
			k := m.refs[mv.ref]
			k.values = append(k.values, value{oid: mv.to, entry: e.Index})
		}
	case *remit.Recorded:
		for _, mv := range m.attempts[ev.Attempt] {
			m.recorded(e, mv, ev)
		}
		delete(m.attempts, ev.Attempt)
	}
	return nil
}

func (m *refMoved) decided(e Entry, d *remit.Decided) (out []Finding) {
	if d.Verdict == remit.Deny {
		return nil
	}
	var moves []move
	var shows []remit.EntryIndex
	for _, s := range d.Steps {
		if s.Step.Effect || s.Ref == "" || s.Step.Action != "source.push" && s.Step.Action != "source.merge" {
			continue
		}
		ref, old := string(s.Step.Resource)+" "+s.Ref, hex.EncodeToString(s.Old)
		moves = append(moves, move{ref, hex.EncodeToString(s.New)})
		k := m.refs[ref]
		if k == nil {
			m.refs[ref] = &known{[]value{{oid: old, entry: e.Index}}}
			continue
		}
		k.values = slices.DeleteFunc(k.values, func(v value) bool { return !v.until.IsZero() && e.At.After(v.until) })
		if slices.ContainsFunc(k.values, func(v value) bool { return v.oid == old }) {
			continue
		}
		for _, v := range k.values { // where it stood, as far as Remit knew
			shows = append(shows, v.entry)
		}
		shows = append(shows, e.Index)
		k.values = append(k.values, value{oid: old, entry: e.Index})
	}
	if len(shows) > 0 {
		// Nobody that Remit knows did it: the agent whose push came upon it least of all.
		shows = ordered(shows)
		out = append(out, Finding{Detection: remit.RefMoved, Task: d.Task, Entries: some(shows), Count: len(shows)})
	}
	if d.Permit != "" && len(moves) > 0 {
		m.permits[d.Permit] = permit{moves, d.NotAfter}
		if len(m.permits) >= manyPermits {
			maps.DeleteFunc(m.permits, func(_ remit.ID, p permit) bool { return e.At.UnixNano() >= p.notAfter })
		}
	}
	return out
}

func (m *refMoved) recorded(e Entry, mv move, r *remit.Recorded) {
	k := m.refs[mv.ref]
	switch r.Outcome {
	case remit.NotApplied:
		if i := slices.IndexFunc(k.values, func(v value) bool { return v.oid == mv.to && v.until.IsZero() }); i >= 0 && len(k.values) > 1 {
			k.values = slices.Delete(k.values, i, i+1)
		}
	case remit.Done:
		to := mv.to
		if r.Made != "" {
			to = r.Made // a merge that the forge made
		}
		// What it was is still true for whoever read it just before, and what others have under way may come true.
		pending := map[string]bool{}
		for id, moves := range m.attempts {
			for _, o := range moves {
				pending[o.to] = pending[o.to] || id != r.Attempt && o.ref == mv.ref
			}
		}
		for i, v := range k.values {
			if v.oid != to && v.until.IsZero() && !pending[v.oid] {
				k.values[i].until = e.At.Add(StaleRead)
			}
		}
		k.values = slices.DeleteFunc(k.values, func(v value) bool { return v.oid == to })
		k.values = append(k.values, value{oid: to, entry: e.Index})
	}
}
