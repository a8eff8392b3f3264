package analysis

import (
	"slices"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Denial is what the authority said of a way that is none. Of several requests for one action on one resource it is the
// first that was denied, which is the plainest, of those that the task's scope covers where there is one.
type Denial struct {
	Code  remit.Code
	Rules []string
	Text  string // one sentence, with patterns where names were made up
}

// refusal says of which way a denial is. Of an agent that is not alive it is all: no action and no resource.
type refusal struct {
	from   NodeID
	action remit.Action
	on     remit.Resource
}

// refuse keeps what was said of a request by whoever is asked about.
func (b *builder) refuse(r remit.Request, a authority.Answer) {
	c := b.now
	if c == nil || r.Caller.Instance != c.caller.Instance && r.Deploy == nil {
		return // a reviewer, say, who is supposed beside it
	}
	c.refuse(r.Steps[0].Action, r.Steps[0].Resource, Denial{Code: a.Code, Rules: slices.Clone(a.Rules), Text: plainly(c, a.Sentence)})
}

func (c *context) refuse(action remit.Action, on remit.Resource, d Denial) {
	if c.denied == nil {
		c.denied = map[refusal]Denial{}
	}
	key := refusal{action: action, on: on}
	beyond := func(d Denial) bool { return slices.Contains(d.Rules, "scope") }
	if first, had := c.denied[key]; !had || beyond(first) && !beyond(d) {
		c.denied[key] = d
	}
}

// refusals are all that was denied, by the nodes of the graph; a way that there is besides is none of them.
func (b *builder) refusals() map[refusal]Denial {
	out := map[refusal]Denial{}
	for _, c := range b.all {
		if c.same {
			continue
		}
		for _, w := range c.ways {
			delete(c.denied, refusal{action: w.Action, on: w.On})
		}
		for key, d := range c.denied {
			key.from = c.node()
			out[key] = d
		}
	}
	return out
}

// Refused is why an agent cannot take a step of a workflow: what the authority answered, on the errand that rests on what the
// steps before it made. ok is false where nobody asked for that, because no entitlement of the agent names it.
func (g *Graph) Refused(w remit.Workflow, agent string, s remit.WorkflowPlayed) (d Denial, ok bool) {
	return g.refused(g.errands(w, agent, s), s.Action, s.Resource)
}

// RefusedToAsk is why one agent cannot have another one work on what it made.
func (g *Graph) RefusedToAsk(w remit.Workflow, from, to string, s remit.WorkflowPlayed) (d Denial, ok bool) {
	return g.refused(g.errands(w, from, s), "task.request", remit.Resource("task:"+to))
}

func (g *Graph) refused(nodes []int, action remit.Action, on remit.Resource) (d Denial, ok bool) {
	for _, n := range nodes {
		for _, key := range []refusal{{g.Nodes[n].ID, action, on}, {from: g.Nodes[n].ID}} {
			if d, ok := g.denied[key]; ok {
				return d, true
			}
		}
	}
	return Denial{}, false
}
