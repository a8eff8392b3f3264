package remit

import (
	"encoding/json"
	"time"
)

// MaxPlanSteps is how many steps the plans of one task have together: those that were used, and those of the newest.
const MaxPlanSteps = 50

// ActionPlan is the step by which an agent files a plan for its own task.
const ActionPlan Action = "task.plan"

// Plan is what an agent means to do for its task that people would be asked about one by one. They are asked about it
// once; while it is in force, what lies inside it passes, and what deviates is held as ever.
type Plan struct {
	Steps []PlanStep `json:"steps"`         // 1 to MaxPlanSteps
	For   int64      `json:"for,omitempty"` // nanoseconds from when it comes into force; 0: until its task ends
}

// PlanStep is one step of a plan: exact, where Effect, Args or New names by digest what is done; otherwise an envelope.
// What reaches production is exact.
type PlanStep struct {
	Action   Action  `json:"action" cbor:"1,keyasint"`
	Resource Pattern `json:"resource" cbor:"2,keyasint"`
	// Effect is what a card of an earlier request of the task binds; Args is what the step signs as its arguments.
	Effect Digest `json:"effect,omitzero" cbor:"3,keyasint,omitzero"`
	Args   Digest `json:"args,omitzero" cbor:"4,keyasint,omitzero"`
	// Of a push or merge: the commit that comes to the ref, and the one that is there before. Object ids in hex.
	New  string    `json:"new,omitempty" cbor:"5,keyasint,omitempty"`
	Old  string    `json:"old,omitempty" cbor:"6,keyasint,omitempty"`
	Refs []Pattern `json:"refs,omitempty" cbor:"7,keyasint,omitempty"` // none: the task's own branches
	// Paths and limits of one use; none is what the grant says. What is protected is inside only where Paths names it.
	Paths      []Pattern `json:"paths,omitempty" cbor:"8,keyasint,omitempty"`
	MaxPaths   int       `json:"max_paths,omitempty" cbor:"9,keyasint,omitempty"`
	MaxBytes   int64     `json:"max_bytes,omitempty" cbor:"10,keyasint,omitempty"`
	MaxCommits int       `json:"max_commits,omitempty" cbor:"11,keyasint,omitempty"`
	Uses       int       `json:"uses,omitempty" cbor:"12,keyasint,omitempty"` // 0 is once
}

// Exact tells whether a digest says what is done.
func (p PlanStep) Exact() bool { return !p.Effect.IsZero() || !p.Args.IsZero() || p.New != "" }

// Times is how often it may be used.
func (p PlanStep) Times() int { return max(1, p.Uses) }

// Digest is what a task.plan step signs as its arguments.
func (p Plan) Digest() Digest { return digestJSON("plan", p) }

// PlanFacts are what the compiled rules found of plans: of the one that is filed, or of the one that lets a step pass.
type PlanFacts struct {
	Filed []PlanStep `cbor:"1,keyasint,omitempty"`
	Until int64      `cbor:"2,keyasint,omitempty"` // of what is filed, Unix nanoseconds: until then it is in force, once it is
	// In is the access request whose votes put a plan in force, which the decision was compared with. With Used it passes,
	// without people: those are steps of the plan, one for each step that changes something, and Needs is who would have
	// been asked. Without Used it deviates.
	In    ID     `cbor:"3,keyasint,omitempty"`
	Used  []int  `cbor:"4,keyasint,omitempty"`
	Needs []Need `cbor:"5,keyasint,omitempty"`
}

// PlanWithdrawn takes back what is left of a plan: from then on its steps are held as if there were none. By is who asked
// for its task, agreed to it or may end the task; or it is an instance of the task.
type PlanWithdrawn struct {
	Task     ID `cbor:"1,keyasint"`
	Access   ID `cbor:"2,keyasint"` // whose votes carried it
	By       ID `cbor:"3,keyasint,omitempty"`
	Instance ID `cbor:"4,keyasint,omitempty"`
}

// Kind is part of Event.
func (*PlanWithdrawn) Kind() string { return "plan.withdrawn" }

// WithdrawRequest withdraws the plan of a task.
type WithdrawRequest struct {
	Access ID `json:"access,omitempty"` // only if these are the votes that carry it, or would
}

// PlanRequest is the body of POST …/task/plan.
type PlanRequest struct {
	Intent string        `json:"intent"` // in the agent's own words, at most 4 KiB
	Steps  []PlannedStep `json:"steps"`
	For    time.Duration `json:"for,omitempty"`
}

// PlannedStep is a step with what people read of it, and what its digest is made of.
type PlannedStep struct {
	PlanStep
	Intent string `json:"intent,omitempty"` // at most 512 bytes
	// Method and Arguments of a call of a tool, of which Args is made; tools/call by default.
	Method    string          `json:"method,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	// Artifacts of artifact.publish, of which Args is made.
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// PlanAnswer is what comes of filing a plan: it is in force at once where nobody has to be asked.
type PlanAnswer struct {
	InForce  bool      `json:"in_force"`
	Decision *Decision `json:"decision,omitempty"` // deny or hold
}

// PlanView is the plan of a task.
type PlanView struct {
	Task   ID          `json:"task"`
	Access ID          `json:"access,omitempty"` // whose votes carry it; empty: nobody was asked, and it lets nothing pass
	Live   bool        `json:"live"`
	Until  time.Time   `json:"until,omitzero"`
	Steps  []PlanUsage `json:"steps"`
	Before []PlanStep  `json:"before,omitempty"` // steps of earlier plans of the task that were used; uses says how often
	Waits  ID          `json:"waits,omitempty"`  // the access request of a newer plan
	// Withdrawn are the access requests whose plans were taken back, the newest last.
	Withdrawn []ID `json:"withdrawn,omitempty"`
}

// PlanUsage is a step with how often it was used.
type PlanUsage struct {
	PlanStep
	Used int `json:"used"`
}
