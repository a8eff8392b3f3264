package detect

import (
	"time"

	"github.com/remit-dev/remit"
)

const (
	// BurstCount denials of one task within BurstTime are a burst. An agent that is refused reads the reason and changes
	// what it does; this many is a loop that nobody looks at, or a search.
	BurstCount = 20
	BurstTime  = 5 * time.Minute
)

// denialBurst counts the denials of a task, those that were only counted (denial.repeated) included.
type denialBurst struct {
	tasks map[string]*burst
	first map[remit.EntryIndex]*remit.Decided // denials that may be counted as repeated yet
	order []sight
}

type burst struct {
	seen recent
	told time.Time // when it was found last; a burst that goes on is one finding
}

func newDenialBurst() *denialBurst {
	return &denialBurst{tasks: map[string]*burst{}, first: map[remit.EntryIndex]*remit.Decided{}}
}

func (b *denialBurst) fold(e Entry) []Finding {
	d, n := (*remit.Decided)(nil), 0
	switch ev := e.Event.(type) {
	case *remit.Decided:
		if ev.Verdict != remit.Deny || who(ev) == "" {
			return nil
		}
		d, n = ev, 1
		b.remember(e, d)
	case *remit.DenialRepeated:
		// They came within the minute after their first; they are counted here, where the log has them.
		d, n = b.first[ev.Entry], ev.Count
	case *remit.TaskEnded:
		delete(b.tasks, string(ev.Task))
	}
	if d == nil || n <= 0 {
		return nil
	}
	t := b.tasks[who(d)]
	if t == nil {
		t = &burst{}
		b.tasks[who(d)] = t
	}
	t.seen = t.seen.add(sight{at: e.At, entry: e.Index, n: n}, BurstTime)
	count := t.seen.count()
	if count < BurstCount {
		return nil
	}
	goesOn := !t.told.IsZero() && e.At.Sub(t.told) <= BurstTime
	t.told = e.At
	if goesOn {
		return nil
	}
	return []Finding{found(remit.DenialBurst, d, t.seen.entries(), count)}
}

// remember keeps a denial for as long as its repeats may still be counted: a minute, and the time until the log takes
// the count.
func (b *denialBurst) remember(e Entry, d *remit.Decided) {
	b.first[e.Index] = d
	b.order = append(b.order, sight{at: e.At, entry: e.Index})
	for len(b.order) > 0 && e.At.Sub(b.order[0].at) > 10*time.Minute {
		delete(b.first, b.order[0].entry)
		b.order = b.order[1:]
	}
}

const (
	// ProbeTargets different things outside a task, tried within ProbeTime, are probing: a mistake meets the same limit
	// again, a search meets others.
	ProbeTargets = 6
	ProbeTime    = time.Hour
)

// outside are the first reasons that say: what was asked for lies outside what the task is about.
var outside = map[remit.Code]bool{remit.OutOfScope: true, remit.RefOutOfScope: true, remit.PathOutOfScope: true, remit.OutOfEnvelope: true,
	remit.CrossesBoundary: true, remit.UnknownResource: true, remit.UnknownAction: true}

// probing counts the different steps of a task that lie outside its grant or its envelope.
type probing struct{ tasks map[string]*probes }

type probes struct {
	seen recent // each thing once
	told bool   // once a task is enough
}

func newProbing() *probing { return &probing{map[string]*probes{}} }

func (p *probing) fold(e Entry) []Finding {
	if ended, ok := e.Event.(*remit.TaskEnded); ok {
		delete(p.tasks, string(ended.Task))
		return nil
	}
	d, ok := e.Event.(*remit.Decided)
	if !ok || d.Verdict == remit.Allow || !outside[d.Code] || d.Executor != "" || who(d) == "" {
		return nil
	}
	t := p.tasks[who(d)]
	if t == nil {
		t = &probes{}
		p.tasks[who(d)] = t
	}
	for _, s := range d.Steps {
		if s.Step.Effect {
			continue // not the agent's choice
		}
		what := string(s.Step.Action) + " " + string(s.Step.Resource) + " " + s.Ref
		known := false
		for i := range t.seen {
			known = known || t.seen[i].what == what && e.At.Sub(t.seen[i].at) <= ProbeTime
		}
		if !known {
			t.seen = t.seen.add(sight{at: e.At, entry: e.Index, n: 1, what: what}, ProbeTime)
		}
	}
	// The last of them may have been seen long ago: only those within the time count.
	var within recent
	for _, s := range t.seen {
		if e.At.Sub(s.at) <= ProbeTime {
			within = append(within, s)
		}
	}
	if t.told || len(within) < ProbeTargets {
		return nil
	}
	t.told = true
	return []Finding{found(remit.Probing, d, within.entries(), len(within))}
}
