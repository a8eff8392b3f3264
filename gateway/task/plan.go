package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// plan reads POST …/task/plan with a remit.PlanRequest in JSON. What people read of a step is what its digest was made of
// here; a digest that somebody else made shows nothing, and the card says so.
func (g Gateway) plan(c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	none := remit.Request{}
	var in remit.PlanRequest
	if err := remit.DecodeStrict(r.Body, MaxBody, &in); err != nil {
		return none, nil, remit.Errorf(remit.BadRequest, "the plan cannot be read: %w", err)
	}
	if strings.TrimSpace(in.Intent) == "" || len(in.Intent) > maxIntent {
		return none, nil, remit.Errorf(remit.BadRequest, "intent says in at most %d bytes what the plan is for", maxIntent)
	}
	p := remit.Plan{For: int64(in.For)}
	for i := range in.Steps {
		if err := complete(&in.Steps[i]); err != nil {
			return none, nil, remit.Errorf(remit.BadRequest, "steps[%d]: %w", i, err)
		}
		p.Steps = append(p.Steps, in.Steps[i].PlanStep)
	}
	res, err := remit.ParseResource("task:" + c.Agent)
	if err != nil {
		return none, nil, err
	}
	order, err := json.Marshal(p)
	if err != nil {
		return none, nil, remit.Errorf(remit.BadRequest, "the plan cannot be stored: %w", err)
	}
	card, err := showPlan(in)
	if err != nil {
		return none, nil, err
	}
	shown, err := g.Tasks.Payload(card)
	if err != nil {
		return none, nil, err
	}
	return remit.Request{Gateway: Name, Caller: c, Plan: &p, Order: order, Card: shown.Commitment(),
		Steps: []remit.Step{{Action: remit.ActionPlan, Resource: res, Args: p.Digest()}}}, []remit.Payload{shown}, nil
}

// maxStepIntent is the longest intent of one step, in bytes.
const maxStepIntent = 512

// complete makes the digest of a step of what it says.
func complete(st *remit.PlannedStep) error {
	made := remit.Digest{}
	switch tool := strings.HasPrefix(string(st.Resource), "tool:"); {
	case len(st.Intent) > maxStepIntent || !utf8.ValidString(st.Intent):
		return fmt.Errorf("its intent is text of at most %d bytes", maxStepIntent)
	case (len(st.Arguments) > 0 || st.Method != "") && !tool:
		return fmt.Errorf("%s is no call of a tool, and has no arguments", st.Action)
	case len(st.Artifacts) > 0 && st.Action != "artifact.publish":
		return fmt.Errorf("%s publishes no artifacts", st.Action)
	case len(st.Arguments) > 0:
		args, err := jcs.Transform(st.Arguments) // as the gateway of tools writes them
		if err != nil {
			return fmt.Errorf("its arguments cannot be read: %w", err)
		}
		if st.Arguments = args; st.Method == "" {
			st.Method = "tools/call"
		}
		made = remit.ToolDigest(st.Method, args)
	case len(st.Artifacts) > 0:
		slices.SortFunc(st.Artifacts, func(a, b remit.Artifact) int { return strings.Compare(a.String(), b.String()) })
		made = remit.ArtifactsDigest(st.Artifacts)
	}
	if made.IsZero() {
		return nil
	}
	if !st.Args.IsZero() && st.Args != made {
		return fmt.Errorf("args is not the digest of what it says; leave it out")
	}
	st.Args = made
	return nil
}

// showPlan is a plan as people read it on the card.
func showPlan(in remit.PlanRequest) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nin the agent's own words: %q\n", remit.ActionPlan, in.Intent)
	for i, st := range in.Steps {
		words := st.Intent
		st.Intent = "" // what was read stands apart from what the agent says
		step, err := json.MarshalIndent(st, "  ", "  ")
		if err != nil {
			return nil, remit.Errorf(remit.BadRequest, "steps[%d] cannot be shown: %w", i, err)
		}
		kind := "an envelope: whatever lies within"
		switch {
		case !st.Args.IsZero() && len(st.Arguments)+len(st.Artifacts) == 0, !st.Effect.IsZero():
			kind = "exact, by a digest of which nothing can be shown here"
		case st.Exact():
			kind = "exact"
		}
		fmt.Fprintf(&b, "\nsteps[%d], %s, %d times\n  %s\n", i, kind, st.Times(), step)
		if words != "" {
			fmt.Fprintf(&b, "  in the agent's own words: %q\n", words)
		}
	}
	if b.Len() > maxShown {
		return nil, remit.Errorf(remit.TooLarge, "the plan is too large to be shown to people; plan less at once, or with fewer words")
	}
	return json.Marshal(remit.Shown{Diff: b.String()})
}

// maxShown is the most that a card shows, in bytes: what is cut, nobody could agree to.
const maxShown = 32 << 10

// adopted answers that a plan is in force: the outcome that is recorded now makes it so.
func adopted(w http.ResponseWriter) gateway.Result {
	if w != nil {
		answerJSON(w, http.StatusCreated, remit.PlanAnswer{InForce: true})
	}
	return gateway.Result{Outcome: remit.Done}
}

// files tells whether an order is that of a plan.
func files(o remit.Order) bool {
	return len(o.Steps) == 1 && o.Steps[0].Action == remit.ActionPlan
}
