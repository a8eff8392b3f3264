package authority

import (
	"encoding/json"

	"github.com/remit-dev/remit"
)

// Facts are everything that a policy may look at: the input document of Rego. They are a function of the state, the
// request and the minute, so a verdict over them may be kept and derived again.
type Facts struct {
	Org      remit.Org     `json:"org"`
	Profile  remit.Profile `json:"profile"`
	Minute   int64         `json:"minute"` // of admission, Unix time / 60
	Gateway  string        `json:"gateway"`
	Agent    AgentFacts    `json:"agent"`
	Task     TaskFacts     `json:"task"`
	Instance InstanceFacts `json:"instance"`
	Steps    []StepView    `json:"steps"` // asked steps and their effects
	Bytes    int64         `json:"bytes"`
	// What the request says besides its steps, each where it does. What came later than the others is left out where it is
	// empty, here and in StepView: the digest of facts is in the log, and stays that of the same request.
	Artifacts []remit.Artifact `json:"artifacts,omitempty"` // that artifact.publish would make known
	Deploy    DeployFacts      `json:"deploy,omitzero"`
	Review    ReviewFacts      `json:"review,omitzero"`
	Tool      remit.ToolCall   `json:"tool,omitzero"` // that a step of stage tool stands for
	Plan      PlanState        `json:"plan,omitzero"`
	Approval  ApprovalFacts    `json:"approval,omitzero"` // that a work order is claimed with
}

// ApprovalFacts are the votes on a request whose work order is claimed, in the order in which they were cast: those of which
// it is known how their voters were signed in.
type ApprovalFacts struct {
	Votes []VoteFacts `json:"votes,omitempty"`
}

// VoteFacts are one vote. Whether it counts is for the compiled rules; a policy can ask for more of what it shows.
type VoteFacts struct {
	Person    remit.ID        `json:"person"`
	Approve   bool            `json:"approve"`
	Assurance remit.Assurance `json:"assurance"`
	// As in remit.SignedIn.
	Method   string   `json:"method,omitempty"`
	Provider string   `json:"provider,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	Age      int64    `json:"age,omitempty"`
}

// PlanState is how a request stands to plans: it files one, or there is one in force.
type PlanState struct {
	Files  int      `json:"files"`  // steps that it files; they stand in Facts.Steps as well, those that were used before among them
	Exact  int      `json:"exact"`  // of them
	Before int      `json:"before"` // steps of the task's plans that were used before
	In     remit.ID `json:"in"`     // the access request whose votes put the plan of the task in force
	Inside bool     `json:"inside"` // it lies inside that plan
}

// DeployFacts are what deploy.promote or deploy.rollback would do.
type DeployFacts struct {
	Environment string           `json:"environment"`
	Artifacts   []remit.Artifact `json:"artifacts"`
	Rollback    bool             `json:"rollback"`
	From        remit.EntryIndex `json:"from"`     // the entry that recorded what is there now; 0: nothing is
	Evidence    []EvidenceFacts  `json:"evidence"` // that the environment requires, in the order of its declaration
}

// EvidenceFacts say of one kind of evidence whether there is some of every artifact.
type EvidenceFacts struct {
	Name string `json:"name"`
	Met  bool   `json:"met"`
}

// ReviewFacts are the verdict of review.submit, and on what.
type ReviewFacts struct {
	Verdict string `json:"verdict"` // approve | reject
	Into    string `json:"into"`    // the ref
	Base    string `json:"base"`    // its commit
	Head    string `json:"head"`    // the commit that would come into it
}

// AgentFacts say who acts.
type AgentFacts struct {
	Name     string         `json:"name"`
	Function remit.Function `json:"function"`
	Owner    remit.ID       `json:"owner"`
}

// TaskFacts say for what.
type TaskFacts struct {
	ID        remit.ID       `json:"id"`
	Requester remit.ID       `json:"requester"`
	Envelope  remit.Envelope `json:"envelope"`
	OpenHolds int            `json:"open_holds"`
	Parent    remit.ID       `json:"parent"` // whose child it is; empty: a person requested it
	Inputs    []remit.Input  `json:"inputs"` // that a child task rests on
	Delegated bool           `json:"delegated"`
	Depth     int            `json:"depth"` // in its chain; 1 is the task that a person requested
	History   HistoryFacts   `json:"history,omitzero"`
}

// HistoryFacts say what a task has done so far, and what came in. What it has is kept by Remit; no client says it.
type HistoryFacts struct {
	Taints []string `json:"taints,omitempty"` // labels of what came in with answers to it, or to those below it; sorted
	// The counts are there once it has called a tool, this call not counted.
	Decisions   int        `json:"decisions,omitempty"`
	Denied      int        `json:"denied,omitempty"` // of them
	Held        int        `json:"held,omitempty"`
	Calls       int        `json:"calls,omitempty"` // that were on calls of tools
	Done        int        `json:"done,omitempty"`  // attempts
	Failed      int        `json:"failed,omitempty"`
	Bytes       int64      `json:"bytes,omitempty"` // pushed
	LastFailure remit.Code `json:"last_failure,omitempty"`
}

// InstanceFacts say from where.
type InstanceFacts struct {
	ID          remit.ID          `json:"id"`
	Confinement remit.Confinement `json:"confinement"`
	Launcher    remit.ID          `json:"launcher"`
	Ungoverned  bool              `json:"ungoverned"` // its task was handed credentials past Remit
}

// StepView is one step as policy sees it.
type StepView struct {
	Action          remit.Action       `json:"action"`
	Stage           remit.Stage        `json:"stage"`
	Zone            remit.Zone         `json:"zone"`
	Impact          remit.Impact       `json:"impact"`
	Resource        remit.Resource     `json:"resource"`
	Effect          bool               `json:"effect"`
	Tier            string             `json:"tier"`    // of an environment
	Secrets         string             `json:"secrets"` // of an effect that triggers a build
	Ref             string             `json:"ref"`
	DefaultBranch   string             `json:"default_branch"`
	Op              remit.RefOp        `json:"op"`
	Commits         int                `json:"commits"`
	Paths           []remit.PathChange `json:"paths"`
	Pinned          []remit.PathChange `json:"pinned"`
	Protected       []remit.Pattern    `json:"protected"` // patterns that a changed path matched
	OutsideEnvelope bool               `json:"outside_envelope"`
	Runs            bool               `json:"runs"`           // what an effect's pipeline runs differs from the trusted ref
	ChildFunction   remit.Function     `json:"child_function"` // of the work that is asked for
	ChildZone       remit.Zone         `json:"child_zone"`     // that the work reaches; the impact is privileged where it is another one
	Debt            bool               `json:"debt"`           // a credential of its upstream should have been seen dead ten minutes ago

	// What the changed files mean; with Truncated there is more of it, so a strict rule holds.
	Dependencies []remit.DependencyChange `json:"dependencies,omitempty"`
	Workflows    []remit.WorkflowFinding  `json:"workflows,omitempty"`
	Owners       []remit.Ownership        `json:"owners,omitempty"`
	Truncated    bool                     `json:"truncated,omitempty"`
	// Planned: it is a step of a plan that is filed, not of the request; what is changed is not known yet.
	Planned bool `json:"planned,omitempty"`
}

// Encode is the one encoding of f: JSON with the members in the order of the types, no space.
func (f Facts) Encode() []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic("authority: facts hold only what JSON can say: " + err.Error())
	}
	return b
}

// Digest is the SHA-256 of Encode.
func (f Facts) Digest() remit.Digest { return remit.Hash(f.Encode()) }

// Finding is what a policy adds to the compiled rules. It has no way to allow.
type Finding struct {
	Verdict  remit.Verdict `json:"verdict"` // Deny, Hold, or Allow for "nothing to add"
	Code     remit.Code    `json:"code,omitempty"`
	Rules    []string      `json:"rules,omitempty"`
	Sentence string        `json:"sentence,omitempty"`
	Votes    []remit.Need  `json:"votes,omitempty"` // that a hold asks for, besides those of the resource
	// Limit marks a deny that a replay cannot derive: a time-out, overload. An allow is never of this class.
	Limit bool `json:"limit,omitempty"`
	// Observed is what rules on trial would have said. It is recorded and changes nothing.
	Observed []remit.Observation `json:"observed,omitempty"`
}

// Policy judges facts. Implementations are functions of facts alone: the same facts give the same finding.
type Policy interface {
	// Digest names the bundle.
	Digest() remit.Digest
	// Judge never fails: what goes wrong is a finding that denies, with its code.
	Judge(Facts) Finding
}
