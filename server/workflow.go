package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
)

// planWorkflow says what work that does not exist yet would meet.
func planWorkflow(s *Server, c *call, in remit.WorkflowRequest) (remit.WorkflowPlan, error) {
	return s.PlanWorkflow(c.r.Context(), c.person, in.Workflow)
}

// PlanWorkflow says what a workflow would meet under what is in force, with what is missing supposed. Nothing is changed.
func (s *Server) PlanWorkflow(ctx context.Context, by remit.ID, w remit.Workflow) (out remit.WorkflowPlan, err error) {
	now, err := s.declared(ctx)
	if err != nil {
		return out, err
	}
	draft, err := analysis.DraftWorkflow(now, w)
	if err != nil {
		return out, err
	}
	out = remit.WorkflowPlan{Name: w.Name, Steps: draft.Steps, Missing: append([]remit.WorkflowLack{}, draft.Missing...), Patch: draft.Patch}
	g, err := s.graph(ctx)
	if err != nil {
		return out, err
	}
	if len(draft.Patch) > 0 {
		before := g
		g, err = s.supposed(ctx, by, draft.Declarations)
		var at *remit.DeclarationError
		if errors.As(err, &at) { // a boundary, a name that was used before: the patch is none
			out.Missing = append(out.Missing, remit.WorkflowLack{Text: fmt.Sprintf("what would mend it cannot be declared: %s: %s", at.Path, at.Sentence)})
			for i := range out.Missing {
				out.Missing[i].Patched = false
			}
			out.Patch, g, err = nil, before, nil
		}
		if err != nil {
			return out, err
		}
		if g != before {
			change, err := g.since(before)
			if err != nil {
				return out, err
			}
			out.Paths = &change
		}
	}
	wire := g.wire()
	plays := map[string]remit.WorkflowPlayed{}
	for i := range out.Steps {
		p := &out.Steps[i]
		p.Meets = []remit.PathEdge{}
		if p.Agent == "" {
			plays[p.Name] = *p
			continue
		}
		for _, name := range p.Inputs {
			from := plays[name]
			if from.Agent == "" || from.Agent == p.Agent {
				continue
			}
			asks := g.Asks(w, from.Agent, p.Agent, *p)
			if len(asks) == 0 {
				out.Missing = append(out.Missing, remit.WorkflowLack{Step: p.Name, Text: fmt.Sprintf("agent %s would be denied to have %s do it%s", from.Agent, p.Agent, because(g.RefusedToAsk(w, from.Agent, p.Agent, *p)))})
			}
			for _, e := range asks {
				p.Asked = append(p.Asked, wire.edge(e))
			}
		}
		meets := g.Meets(w, p.Agent, *p)
		for _, e := range meets {
			p.Meets = append(p.Meets, wire.edge(e))
		}
		if len(meets) == 0 && p.Impact != remit.Read {
			out.Missing = append(out.Missing, remit.WorkflowLack{Step: p.Name, Text: fmt.Sprintf("agent %s would be denied %s on %s%s", p.Agent, p.Action, p.Resource, because(g.Refused(w, p.Agent, *p)))})
		}
		if slices.ContainsFunc(p.Asked, func(e remit.PathEdge) bool { return e.Action == p.Action }) {
			out.Asks += max(asksOf(p.Asked), asksOf(p.Meets)) // the work that is asked for is that one step
		} else {
			out.Asks += asksOf(p.Asked) + asksOf(p.Meets)
		}
		plays[p.Name] = *p
	}
	return out, nil
}

// because says which rule denies a way, and why.
func because(d analysis.Denial, ok bool) string {
	switch {
	case !ok:
		return ": nothing that it is entitled to names it"
	case len(d.Rules) == 0:
		return ": " + strings.TrimSuffix(d.Text, ".")
	}
	return fmt.Sprintf(": %s (%s)", strings.TrimSuffix(d.Text, "."), strings.Join(d.Rules, ", "))
}

// asksOf is 1 where people are asked whichever of some ways is taken.
func asksOf(ways []remit.PathEdge) int {
	for _, e := range ways {
		if e.Verdict == remit.Allow {
			return 0
		}
	}
	return min(len(ways), 1)
}
