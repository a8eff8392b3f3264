package follow

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// When a gate is named: of so many votes at least, so many in a hundred are approvals by somebody who had the card before
// them for no longer than that.
const (
	rubberVotes = 20
	rubberShare = 95
	rubberTime  = 10 * time.Second
)

const (
	maxDwells  = 512 // of which a median is made
	maxRepeats = 256 // of one gate: agents choose names of refs
	maxRepeat  = 16  // requests that a repetition names
)

// gates counts how people decide, by what asks them to.
type gates struct {
	all  map[string]*gate
	open map[remit.ID]*asked // requests that wait
	next *remit.Decided      // the last hold: the next request is of it
}

type gate struct {
	view    remit.GateView
	dwells  []time.Duration // the newest
	repeats map[string]*remit.Repeat
}

type asked struct {
	gate   *gate
	repeat *remit.Repeat
	seen   map[remit.ID]time.Time
	votes  int // approvals
}

func newGates() gates { return gates{all: map[string]*gate{}, open: map[remit.ID]*asked{}} }

func (g *gates) fold(at time.Time, event remit.Event) {
	switch e := event.(type) {
	case *remit.Decided:
		if e.Verdict == remit.Hold {
			g.next = e
		}
	case *remit.AccessOpened:
		g.open[e.ID] = g.asks(e, g.next)
	case *remit.AccessSeen:
		if a := g.open[e.Access]; a != nil {
			a.seen[e.Person] = at
		}
	case *remit.VoteCast:
		if a := g.open[e.Access]; a != nil {
			a.vote(at, e)
		}
	case *remit.AccessMoved:
		a := g.open[e.Access]
		if a == nil {
			return
		}
		switch {
		case e.To == remit.AccessVoid && e.Why == remit.Vetoed:
			a.repeat.Denied++
			delete(g.open, e.Access)
		case e.To == remit.AccessVoid:
			delete(g.open, e.Access)
		case e.To == remit.AccessMet && a.votes > 0:
			a.repeat.Approved++
			a.repeat.Requests = append(a.repeat.Requests[max(0, len(a.repeat.Requests)-maxRepeat+1):], e.Access)
			delete(g.open, e.Access)
		}
	}
}

// asks finds the gate of a request. What people want of Remit itself has no decision of a gateway.
func (g *gates) asks(e *remit.AccessOpened, held *remit.Decided) *asked {
	v := remit.GateView{Rules: []string{"control"}, Action: "control.apply", Resource: "control:declarations"}
	r := remit.Repeat{Requests: []remit.ID{}}
	if held != nil && held.Access == e.ID {
		v.Rules = slices.Sorted(slices.Values(held.Rules))
		r.Agent = held.Agent
		for i, f := range held.Steps {
			if i == 0 {
				v.Action, v.Resource = f.Step.Action, f.Step.Resource
			}
			if !slices.Contains(r.Steps, f.Step) {
				r.Steps = append(r.Steps, f.Step)
			}
			if f.Ref != "" && !f.Step.Effect {
				ref := f.Ref
				if own, _, ok := strings.Cut(f.Ref, "/"+string(held.Task)+"/"); ok {
					ref = own + "/TASK/**"
				}
				r.Refs = append(r.Refs, ref)
			}
			r.Protected = append(r.Protected, f.Protected...)
		}
		r.Refs, r.Protected = slices.Compact(slices.Sorted(slices.Values(r.Refs))), slices.Compact(slices.Sorted(slices.Values(r.Protected)))
	}
	key := strings.Join(v.Rules, " ") + " " + string(v.Action) + " " + string(v.Resource)
	x := g.all[key]
	if x == nil {
		x = &gate{view: v, repeats: map[string]*remit.Repeat{}}
		g.all[key] = x
	}
	x.view.Requests++
	same, err := json.Marshal(r)
	if err != nil {
		panic("follow: a repetition is JSON: " + err.Error())
	}
	repeat := x.repeats[string(same)]
	if repeat == nil {
		repeat = &r
		if len(x.repeats) < maxRepeats {
			x.repeats[string(same)] = repeat
		}
	}
	return &asked{gate: x, repeat: repeat, seen: map[remit.ID]time.Time{}}
}

func (a *asked) vote(at time.Time, e *remit.VoteCast) {
	v := &a.gate.view
	if !e.Approve {
		v.Denied++
		return
	}
	v.Approved++
	a.votes++
	seen, ok := a.seen[e.Person]
	if !ok {
		return
	}
	v.Timed++
	if at.Sub(seen) <= rubberTime {
		v.Quick++
	}
	a.gate.dwells = append(a.gate.dwells[max(0, len(a.gate.dwells)-maxDwells+1):], at.Sub(seen))
}

// Gates is how people decide at each gate, those with the most requests first.
func (f *Follower) Gates(ctx context.Context) ([]remit.GateView, error) {
	if err := f.CatchUp(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []remit.GateView{}
	for _, k := range slices.Sorted(maps.Keys(f.gates.all)) {
		out = append(out, f.gates.all[k].show())
	}
	slices.SortStableFunc(out, func(a, b remit.GateView) int { return cmp.Compare(b.Requests, a.Requests) })
	return out, nil
}

// show is a gate for people. It is named where nearly every vote is an approval of what was hardly seen; who votes
// without the card before them counts as little as the card.
func (g *gate) show() remit.GateView {
	v := g.view
	if n := len(g.dwells); n > 0 {
		v.Median = slices.Sorted(slices.Values(g.dwells))[n/2].Round(time.Second / 10).String()
	}
	votes := v.Approved + v.Denied
	if unseen := v.Approved - v.Timed; votes >= rubberVotes && (v.Quick+unseen)*100 > rubberShare*votes {
		v.Rubber = fmt.Sprintf("%d of %d votes approve within ten seconds, or without the card: nobody decides here. Ask less (remit policy suggest), or ask for more", v.Quick+unseen, votes)
	}
	for _, k := range slices.Sorted(maps.Keys(g.repeats)) {
		r := *g.repeats[k]
		r.Requests = slices.Clone(r.Requests)
		v.Routine = append(v.Routine, r)
	}
	slices.SortStableFunc(v.Routine, func(a, b remit.Repeat) int { return cmp.Compare(b.Approved, a.Approved) })
	return v
}
