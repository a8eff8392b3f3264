package remit

import (
	"encoding/json"
	"time"
)

// Caller is who proved themselves at a gateway. Either Instance, Agent and Task are set, or Executor.
type Caller struct {
	Instance ID     `json:"instance,omitempty"`
	Agent    string `json:"agent,omitempty"`
	Task     ID     `json:"task,omitempty"`
	Executor string `json:"executor,omitempty"` // executor/source: carries out approved work orders
}

// Step is one catalogue action on one resource, as a gateway classified it.
type Step struct {
	Action   Action   `json:"action" cbor:"1,keyasint"`
	Resource Resource `json:"resource" cbor:"2,keyasint"`
	// Effect marks what follows by itself: a build that a push starts. Only authority adds such steps.
	Effect bool   `json:"effect,omitempty" cbor:"3,keyasint,omitempty"`
	Args   Digest `json:"args,omitzero" cbor:"4,keyasint,omitzero"`
}

// RefOp is what a push does to one ref.
type RefOp string

const (
	RefCreate RefOp = "create"
	RefUpdate RefOp = "update" // fast-forward
	RefForce  RefOp = "force"  // anything else that moves a ref, every move of a tag included
	RefDelete RefOp = "delete"
)

// PathChange is one changed path between two trees.
type PathChange struct {
	Path    string `json:"path"`           // as git has it; bytes that are not UTF-8 as \xNN
	Fold    string `json:"fold,omitempty"` // as a case-folding, normalising file system sees it, where that differs
	OldMode uint32 `json:"old_mode,omitempty"`
	NewMode uint32 `json:"new_mode,omitempty"`
	Old     string `json:"old,omitempty"` // blob ids
	New     string `json:"new,omitempty"`
	// Past marks a path that new commits touched and the net difference does not show: added, then reverted.
	Past bool `json:"past,omitempty"`
}

// RefChange is what a gateway observed of one ref of a push. It is an observation, not a claim: the gateway read the
// objects themselves.
type RefChange struct {
	Ref     string       `json:"ref"`
	Op      RefOp        `json:"op"`
	Old     string       `json:"old,omitempty"`  // commit or tag id, empty on create
	New     string       `json:"new,omitempty"`  // empty on delete
	Tree    string       `json:"tree,omitempty"` // of New
	Commits int          `json:"commits,omitempty"`
	Paths   []PathChange `json:"paths,omitempty"`  // sorted by path
	Pinned  []PathChange `json:"pinned,omitempty"` // watched paths that differ from the trusted ref, sorted
	// Pushers are the entries of the pushes that brought the new commits; Outside counts commits that none brought.
	Pushers  []EntryIndex `json:"pushers,omitempty"`
	Outside  int          `json:"outside,omitempty"`
	Brought  []string     `json:"brought,omitempty"` // commits that this push itself brings, ids in hex
	Signers  []ID         `json:"signers,omitempty"` // people whose declared keys verifiably signed new commits
	Findings []Finding    `json:"findings,omitempty"`
	// What the changed files mean, as far as it is known; Truncated: there is more of it than is said here.
	Dependencies []DependencyChange `json:"dependencies,omitempty"` // at most MaxDependencies, sorted
	Workflows    []WorkflowFinding  `json:"workflows,omitempty"`    // at most MaxWorkflows
	Owners       []Ownership        `json:"owners,omitempty"`       // at most MaxOwnerships
	Truncated    bool               `json:"truncated,omitempty"`
}

// Finding is something that a gateway saw and that denies: bad objects, unseen blobs, misleading names.
type Finding struct {
	Code     Code   `json:"code"`
	Path     string `json:"path,omitempty"`
	Sentence string `json:"sentence"`
}

// Request is what a gateway asks. It is a wire type: the same in process and over HTTP.
type Request struct {
	Gateway string      `json:"gateway"` // name of the gateway that observed
	Caller  Caller      `json:"caller"`
	Steps   []Step      `json:"steps"`
	Refs    []RefChange `json:"refs,omitempty"` // at most 50; of the one repository that a push step names
	Bytes   int64       `json:"bytes,omitempty"`
	// Child is what a task.request or task.delegate step asks for.
	Child *Child `json:"child,omitempty"`
	// Artifacts are what an artifact.publish step would make known, at most 16, sorted.
	Artifacts []Artifact `json:"artifacts,omitempty"`
	// Deploy is what a deploy.promote or deploy.rollback step would do.
	Deploy *Deploy `json:"deploy,omitempty"`
	// Review is the verdict of a review.submit step, over the one ref change of the request: approve or reject.
	Review string `json:"review,omitempty"`
	// Tool is the call that a step of stage tool stands for.
	Tool *ToolCall `json:"tool,omitempty"`
	// Plan is what a task.plan step files.
	Plan *Plan `json:"plan,omitempty"`
	// Order is the protocol's own encoding of what Forward needs, at most 32 KiB; a pack is a blob that it names.
	Order []byte `json:"order,omitempty"`
	// Card is the commitment of the payload that shows people the change (a diff), if any.
	Card Digest `json:"card,omitzero"`
	// Preview asks, before the costly part of classifying, whether scope alone denies: then the decision is a deny like
	// any other; otherwise it is Allow without a permit and without an entry.
	Preview bool `json:"preview,omitempty"`
	// Advice asks what would be decided, for an enforcement point that is not Remit's: the decision is recorded like any
	// other, but an allow has no permit and a hold opens no access request.
	Advice bool `json:"advice,omitempty"`
	// Elsewhere: the enforcement point that asks carries it out, not Remit. It is another effect than the same steps here:
	// what people approve for one is not good for the other.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Access is set when an executor claims an approved work order.
	Access ID `json:"access,omitempty"`
}

// ToolCall is a call of a tool, as a gateway observed it; rules of a policy see all of it.
type ToolCall struct {
	Server string `json:"server"` // name of the upstream; local for tools within the agent's own process
	Name   string `json:"name"`   // of the resource, without SERVER/
	Method string `json:"method"` // of MCP, such as tools/call; empty for local tools
	// Arguments are the params' arguments as RFC 8785 writes them, at most MaxArguments; what is larger is left out, and
	// Truncated says so.
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Truncated bool            `json:"truncated,omitempty"`
	// Pin is the digest of the definition that the server gives now; zero: it gives none.
	Pin Digest `json:"pin,omitzero"`
	// Host is the program that asks about a local tool, in its own words: claude-code.
	Host string `json:"host,omitempty"`
	// Why is what the classification of a local tool saw, at most 8 short codes: dynamic, network.
	Why []string `json:"why,omitempty"`
}

// MaxArguments is the most of a call's arguments that policies see, in bytes.
const MaxArguments = 16 << 10

// LocalTools is the server that stands for the tools within an agent's own process.
const LocalTools = "local"

// OwnTools is the server of Remit's own tools, for agents.
const OwnTools = "remit"

// Decision is the answer to a Request. Permit is set only on Allow.
type Decision struct {
	Entry    EntryIndex `json:"entry"`
	Verdict  Verdict    `json:"verdict"`
	Code     Code       `json:"code,omitempty"`     // the first reason, stable
	Rules    []string   `json:"rules,omitempty"`    // every rule that denied or held
	Sentence string     `json:"sentence,omitempty"` // for people: what, and what would be right
	Access   ID         `json:"access,omitempty"`   // the access request, when held
	Permit   Permit     `json:"-"`
}

// Order is an action stored whole: what Forward needs to carry it out.
type Order struct {
	Caller  Caller
	Steps   []Step
	Deploy  *Deploy // what a deploy step does
	Body    []byte
	Attempt ID // under which it is carried out: an upstream that knows idempotency keys gets this one
}

// Scope is what a task asks for, an entitlement allows, or a grant gives: actions × resources within limits.
// An empty list of Refs in an entitlement or a request means the task's own branches; of Paths, all paths.
// A limit of 0 is none of its own.
type Scope struct {
	Actions    []Action  `json:"actions" cbor:"1,keyasint"`
	Resources  []Pattern `json:"resources" cbor:"2,keyasint"`
	Refs       []Pattern `json:"refs,omitempty" cbor:"3,keyasint,omitempty"`
	Paths      []Pattern `json:"paths,omitempty" cbor:"4,keyasint,omitempty"`
	MaxBytes   int64     `json:"max_bytes,omitempty" cbor:"5,keyasint,omitempty"`   // of one push
	MaxCommits int       `json:"max_commits,omitempty" cbor:"6,keyasint,omitempty"` // of one push
}

// Envelope is what a task's intent means in terms that a machine can check; a step inside the scope but outside the
// envelope holds.
type Envelope struct {
	Refs       []Pattern `json:"refs,omitempty" cbor:"1,keyasint,omitempty"`
	Paths      []Pattern `json:"paths,omitempty" cbor:"2,keyasint,omitempty"`
	MaxBytes   int64     `json:"max_bytes,omitempty" cbor:"3,keyasint,omitempty"`
	MaxCommits int       `json:"max_commits,omitempty" cbor:"4,keyasint,omitempty"`
}

// Budget limits a task as a whole; 0 is the default that authority documents.
type Budget struct {
	Decisions int   `json:"decisions,omitempty" cbor:"1,keyasint,omitempty"`
	Holds     int   `json:"holds,omitempty" cbor:"2,keyasint,omitempty"` // open at one time
	Bytes     int64 `json:"bytes,omitempty" cbor:"3,keyasint,omitempty"` // pushed in all
}

// Need is one line of a quorum: N people of a group.
type Need struct {
	Group string `json:"group" cbor:"1,keyasint"`
	N     int    `json:"n" cbor:"2,keyasint"`
	// Evidence is what stands in for them where all of it is found in the log: KIND(+KIND)*, such as verdict:2+built. In
	// production it does so only with InProduction.
	Evidence     string `json:"evidence,omitempty" cbor:"3,keyasint,omitempty"`
	InProduction bool   `json:"in_production,omitempty" cbor:"4,keyasint,omitempty"`
	StepUp       StepUp `json:"step_up,omitzero" cbor:"5,keyasint,omitzero"` // how they must be signed in
}

// TaskRequest asks for a task.
type TaskRequest struct {
	Agent    string        `json:"agent"`
	Intent   string        `json:"intent"` // at most 4 KiB
	Scope    []Scope       `json:"scope,omitempty"`
	Envelope Envelope      `json:"envelope,omitzero"`
	Budget   Budget        `json:"budget,omitzero"`
	For      time.Duration `json:"for,omitempty"` // until the deadline; 8 h by default, 24 h at most
	// Strict: refuse the request where a part of Scope is in nothing that the agent is entitled to; by default the rest
	// is granted.
	Strict bool `json:"strict,omitempty"`
}
