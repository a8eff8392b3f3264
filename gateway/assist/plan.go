package assist

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
)

// planning is what a model reads of the tool.
const planning = "Say at once what you will do that people would be asked about step by step: they decide once, and what lies inside passes then. " +
	"Name what you know exactly (a call of a tool with its arguments, the commit that is merged); for the rest give an envelope: paths, limits, how often. " +
	"What reaches production is named exactly. Whatever deviates is held as ever. A new plan takes the place of the one before, and is judged with what you have used."

type planInput struct {
	Intent  string     `json:"intent" jsonschema:"what the plan is for, in words for people"`
	Steps   []planStep `json:"steps" jsonschema:"what you will do, at most 50"`
	Minutes int        `json:"minutes,omitempty" jsonschema:"for how long, once people agreed; until your task ends by default"`
}

type planStep struct {
	Action     string         `json:"action" jsonschema:"such as source.merge or tool.call"`
	Resource   string         `json:"resource" jsonschema:"on what, such as repo:forge/acme/payments or tool:jira/close"`
	Intent     string         `json:"intent,omitempty" jsonschema:"why, in words for people"`
	Arguments  map[string]any `json:"arguments,omitempty" jsonschema:"of the call of a tool: exactly these"`
	Commit     string         `json:"commit,omitempty" jsonschema:"of a push or merge: exactly this commit comes to the one ref"`
	Before     string         `json:"before,omitempty" jsonschema:"the commit that is there before; needed where it reaches production"`
	Effect     string         `json:"effect,omitempty" jsonschema:"the effect digest of an earlier request of yours: exactly that"`
	Refs       []string       `json:"refs,omitempty" jsonschema:"that a push or merge moves; your own branches by default"`
	Paths      []string       `json:"paths,omitempty" jsonschema:"that it changes, such as src/**; what is protected must be named"`
	MaxPaths   int            `json:"max_paths,omitempty"`
	MaxBytes   int64          `json:"max_bytes,omitempty"`
	MaxCommits int            `json:"max_commits,omitempty"`
	Uses       int            `json:"uses,omitempty" jsonschema:"how often; once by default, and at most once for what is exact"`
}

func (in planInput) request() (remit.PlanRequest, error) {
	out := remit.PlanRequest{Intent: in.Intent, For: time.Duration(in.Minutes) * time.Minute}
	if in.Minutes < 0 || in.Minutes > 24*60 {
		return out, remit.Errorf(remit.BadRequest, "minutes is at most %d", 24*60)
	}
	for i, st := range in.Steps {
		p := remit.PlannedStep{Intent: st.Intent, PlanStep: remit.PlanStep{Action: remit.Action(st.Action), Resource: remit.Pattern(st.Resource), New: st.Commit, Old: st.Before,
			MaxPaths: st.MaxPaths, MaxBytes: st.MaxBytes, MaxCommits: st.MaxCommits, Uses: st.Uses}}
		if err := p.Effect.UnmarshalText([]byte(st.Effect)); err != nil {
			return out, remit.Errorf(remit.BadRequest, "steps[%d].effect: %w", i, err)
		}
		for _, r := range st.Refs {
			p.Refs = append(p.Refs, remit.Pattern(r))
		}
		for _, q := range st.Paths {
			p.Paths = append(p.Paths, remit.Pattern(q))
		}
		if st.Arguments != nil {
			args, err := json.Marshal(st.Arguments)
			if err != nil {
				return out, remit.Errorf(remit.BadRequest, "steps[%d].arguments: %w", i, err)
			}
			p.Arguments = args
		}
		out.Steps = append(out.Steps, p)
	}
	return out, nil
}

func (d desk) plan(ctx context.Context, _ *mcp.CallToolRequest, in planInput) (*mcp.CallToolResult, none, error) {
	c, err := caller(ctx)
	if err != nil {
		return failed(err, "")
	}
	req, err := in.request()
	if err != nil {
		return failed(err, "")
	}
	a, err := d.Plans.Plan(ctx, c, req)
	if err != nil {
		return failed(err, "`scope` says what your task may do; a plan holds nothing else.")
	}
	if v := a.Decision; v != nil && v.Verdict == remit.Hold {
		return said("Your plan waits for people as %s: %s [%s]\nUntil they agree, everything is held as ever. `wait` with {\"access\": %q}.", v.Access, v.Sentence, v.Code, v.Access)
	} else if v != nil {
		return failed(remit.Errorf(v.Code, "%s", v.Sentence), fmt.Sprintf("Entry %d. `scope` says what your task may do; correct the plan and file it again.", v.Entry))
	}
	return said("Nobody has to be asked about any step of this plan as it is; go on. What deviates may still be held.")
}

type withdrawInput struct {
	Access string `json:"access,omitempty" jsonschema:"the access request of the plan; the one in force by default"`
}

func (d desk) withdraw(ctx context.Context, _ *mcp.CallToolRequest, in withdrawInput) (*mcp.CallToolResult, none, error) {
	c, err := caller(ctx)
	if err != nil {
		return failed(err, "")
	}
	id, err := d.Plans.Withdraw(ctx, c, remit.ID(in.Access))
	if err != nil {
		return failed(err, "A plan that is over, or that somebody has withdrawn, lets nothing pass.")
	}
	return said("The plan %s is withdrawn; what is left of it is held as if there were none.", id)
}
