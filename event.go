package remit

import (
	"maps"
	"slices"
)

// Event is a fact. Events never change once released: members are added, a new meaning is a new kind. Members are
// encoded by the integer in their tag (deterministic CBOR). Nothing personal or secret stands in an event: people are
// ids, texts are commitments of payloads.
type Event interface{ Kind() string }

// Key is a declared public key of a person.
type Key struct {
	Public []byte `cbor:"1,keyasint"` // SSH wire format, RFC 4253 §6.6
	// Since is the first entry at which the key was in force; a vote counts only on requests made after it.
	Since EntryIndex `cbor:"2,keyasint"`
	// Confirmed: it came with the person, or was confirmed with an older key of theirs.
	Confirmed bool `cbor:"3,keyasint,omitempty"`
	// Usable is when an unconfirmed key counts all the same, Unix nanoseconds; 0 is never. A second administrator
	// approved it, and 24 hours were time to object.
	Usable int64 `cbor:"4,keyasint,omitempty"`
}

type (
	// Genesis is the first entry of every log.
	Genesis struct {
		Org      Org     `cbor:"1,keyasint"`
		Origin   string  `cbor:"2,keyasint"` // of the log: the first line of its checkpoints
		Verifier string  `cbor:"3,keyasint"` // note verifier key
		Profile  Profile `cbor:"4,keyasint"`
		Admins   []ID    `cbor:"5,keyasint"`
	}
	// RulesActivated says which rules decide from here on.
	RulesActivated struct {
		Version int    `cbor:"1,keyasint"`
		OPA     string `cbor:"2,keyasint"` // version of the Rego implementation
	}
	// PersonDeclared adds or changes a person. Name is the commitment of their name.
	PersonDeclared struct {
		ID   ID     `cbor:"1,keyasint"`
		Name Digest `cbor:"2,keyasint"`
		Keys []Key  `cbor:"3,keyasint"`
		By   ID     `cbor:"4,keyasint,omitempty"`
		// Identities are commitments of who they are at OpenID providers (Identity.Body).
		Identities []Digest `cbor:"5,keyasint,omitempty" json:",omitempty"`
	}
	// KeyConfirmed: the person proved a new key with an old one.
	KeyConfirmed struct {
		Person ID     `cbor:"1,keyasint"`
		Key    Digest `cbor:"2,keyasint"` // SHA-256 of the public key
	}
	GroupDeclared struct {
		Name    string `cbor:"1,keyasint"`
		Members []ID   `cbor:"2,keyasint"` // sorted
		By      ID     `cbor:"3,keyasint,omitempty"`
		// From says whom a sign-in makes a member for a while, besides those.
		From []GroupSource `cbor:"4,keyasint,omitempty" json:",omitempty"`
		Asks Asks          `cbor:"5,keyasint,omitzero" json:",omitzero"`
	}
	AgentDeclared struct {
		Name         string     `cbor:"1,keyasint"`
		Function     Function   `cbor:"2,keyasint"`
		Owner        ID         `cbor:"3,keyasint"`
		Text         Digest     `cbor:"4,keyasint"` // commitment of its purpose
		Requesters   []string   `cbor:"5,keyasint,omitempty"`
		Expires      int64      `cbor:"6,keyasint,omitempty"` // Unix seconds
		Review       int64      `cbor:"7,keyasint,omitempty"`
		Entitlements []Scope    `cbor:"8,keyasint,omitempty"`
		MayRequest   []Function `cbor:"9,keyasint,omitempty"`
		By           ID         `cbor:"10,keyasint,omitempty"`
		Jobs         []Job      `cbor:"11,keyasint,omitempty"`
	}
	UpstreamDeclared struct {
		Name string `cbor:"1,keyasint"`
		Type string `cbor:"2,keyasint"`
		Spec Digest `cbor:"3,keyasint"` // commitment of the declaration
		By   ID     `cbor:"4,keyasint,omitempty"`
	}
	RepositoryDeclared struct {
		Name          string    `cbor:"1,keyasint"`
		Path          string    `cbor:"2,keyasint"`
		DefaultBranch string    `cbor:"3,keyasint"`
		Approvers     []Need    `cbor:"4,keyasint,omitempty"`
		Protected     []Pattern `cbor:"5,keyasint,omitempty"`
		Effects       []Effect  `cbor:"6,keyasint"`
		By            ID        `cbor:"7,keyasint,omitempty"`
		Artifacts     []Pattern `cbor:"8,keyasint,omitempty"` // that builds of it publish
		Reviews       int       `cbor:"9,keyasint,omitempty"` // approving verdicts that a merge needs
	}
	EnvironmentDeclared struct {
		Name      string `cbor:"1,keyasint"`
		Tier      string `cbor:"2,keyasint"`
		Approvers []Need `cbor:"3,keyasint,omitempty"`
		By        ID     `cbor:"4,keyasint,omitempty"`
		// Upstream is where it runs; Spec is the commitment of how (its target).
		Upstream  string    `cbor:"5,keyasint,omitempty"`
		Spec      Digest    `cbor:"6,keyasint,omitzero"`
		Artifacts []Pattern `cbor:"7,keyasint,omitempty"` // that may be deployed to it
		Evidence  []string  `cbor:"8,keyasint,omitempty"` // built | merged | deployed:ENVIRONMENT
		Rollback  []Need    `cbor:"9,keyasint,omitempty"`
	}
	// SecretDeclared puts a secret into a zone. Its value is never in the log.
	SecretDeclared struct {
		Name      string `cbor:"1,keyasint"`
		Zone      Zone   `cbor:"2,keyasint"`
		Approvers []Need `cbor:"3,keyasint,omitempty"`
		By        ID     `cbor:"4,keyasint,omitempty"`
		Spec      Digest `cbor:"5,keyasint,omitzero"` // commitment of where it may be sent
	}
	BoundaryDeclared struct {
		Name      string     `cbor:"1,keyasint"`
		Seal      []Pattern  `cbor:"2,keyasint"`
		Functions []Function `cbor:"3,keyasint,omitempty"`
		By        ID         `cbor:"4,keyasint,omitempty"`
	}
	// Removed takes a declared thing out of force. Its name stays taken where names are identities (agents).
	Removed struct {
		What string `cbor:"1,keyasint"` // person, group, agent, …
		Name string `cbor:"2,keyasint"`
		By   ID     `cbor:"3,keyasint,omitempty"`
	}
	// Applied closes a set of declarations: all of it is in force.
	Applied struct {
		By      ID     `cbor:"1,keyasint"`
		Set     Digest `cbor:"2,keyasint"` // of the canonical set
		Changes int    `cbor:"3,keyasint"`
		Access  ID     `cbor:"4,keyasint,omitempty"` // the approval that it needed
	}
	// PolicyInstalled puts a bundle in force; its text is a blob under Bundle.
	PolicyInstalled struct {
		Bundle Digest `cbor:"1,keyasint"`
		By     ID     `cbor:"2,keyasint,omitempty"`
	}
	TaskCreated struct {
		ID        ID       `cbor:"1,keyasint"`
		Requester ID       `cbor:"2,keyasint"`
		Agent     string   `cbor:"3,keyasint"`
		Intent    Digest   `cbor:"4,keyasint"` // commitment
		Grant     []Scope  `cbor:"5,keyasint"`
		Envelope  Envelope `cbor:"6,keyasint"`
		Deadline  int64    `cbor:"7,keyasint"` // Unix nanoseconds
		Budget    Budget   `cbor:"8,keyasint"`
		Parent    ID       `cbor:"9,keyasint,omitempty"`
		// A child task names the instance that asked for it, the attempt that made it, and what it rests on.
		By        ID      `cbor:"10,keyasint,omitempty"`
		Attempt   ID      `cbor:"11,keyasint,omitempty"`
		Inputs    []Input `cbor:"12,keyasint,omitempty"`
		Delegated bool    `cbor:"13,keyasint,omitempty"`
		Deploy    Deploy  `cbor:"14,keyasint,omitzero"`
	}
	TaskEnded struct {
		Task   ID         `cbor:"1,keyasint"`
		Status TaskStatus `cbor:"2,keyasint"`
		By     ID         `cbor:"3,keyasint,omitempty"`
	}
	AgentChanged struct {
		Agent  string      `cbor:"1,keyasint"`
		Status AgentStatus `cbor:"2,keyasint"`
		By     ID          `cbor:"3,keyasint,omitempty"`
		// Cause is idle where the agent suspended or retired itself, revived where one that had is back; else empty.
		Cause string `cbor:"4,keyasint,omitempty"`
	}
	// PersonKilled ends a person's authority at once: what they requested, own or launched ends too.
	PersonKilled struct {
		Person ID `cbor:"1,keyasint"`
		By     ID `cbor:"2,keyasint,omitempty"`
	}
	InstanceStarted struct {
		ID          ID          `cbor:"1,keyasint"`
		Task        ID          `cbor:"2,keyasint"`
		Agent       string      `cbor:"3,keyasint"`
		Launcher    ID          `cbor:"4,keyasint"`
		Confinement Confinement `cbor:"5,keyasint"`
		Secret      Digest      `cbor:"6,keyasint"` // hash of what its launcher renews tokens with
		Host        Digest      `cbor:"7,keyasint"` // keyed digest of the peer's address
		// Ungoverned names the known credentials, by their variables, that its person handed to the command: what it does
		// with them, Remit does not see.
		Ungoverned []string `cbor:"8,keyasint,omitempty"`
		// Issuer is the declared upstream whose token proved a CI job; such an instance has no launcher. Claims is the
		// commitment of what the token said.
		Issuer string `cbor:"9,keyasint,omitempty"`
		Claims Digest `cbor:"10,keyasint,omitzero"`
		Token  Digest `cbor:"11,keyasint,omitzero"` // of the token's own id: it starts no other instance
	}
	InstanceEnded struct {
		Instance ID   `cbor:"1,keyasint"`
		Lost     bool `cbor:"2,keyasint,omitempty"` // its launcher was not heard of
	}
	// Decided is a decision on a gateway's request. Facts are the results of matching, so that the compiled rules can be
	// derived again without the payload.
	Decided struct {
		Verdict   Verdict     `cbor:"1,keyasint"`
		Code      Code        `cbor:"2,keyasint,omitempty"`
		Rules     []string    `cbor:"3,keyasint,omitempty"`
		Gateway   string      `cbor:"4,keyasint"`
		Instance  ID          `cbor:"5,keyasint,omitempty"`
		Task      ID          `cbor:"6,keyasint,omitempty"`
		Agent     string      `cbor:"7,keyasint,omitempty"`
		Executor  string      `cbor:"8,keyasint,omitempty"`
		Steps     []StepFacts `cbor:"9,keyasint,omitempty"`
		Effect    Digest      `cbor:"10,keyasint,omitzero"`
		Facts     Digest      `cbor:"11,keyasint,omitzero"`
		Policy    Digest      `cbor:"12,keyasint,omitzero"`
		Permit    ID          `cbor:"13,keyasint,omitempty"`
		Hash      Digest      `cbor:"14,keyasint,omitzero"` // of the permit's secret
		Access    ID          `cbor:"15,keyasint,omitempty"`
		Bytes     int64       `cbor:"16,keyasint,omitempty"`
		Closure   []ID        `cbor:"17,keyasint,omitempty"` // people whom this step adds to the task's closure
		NotAfter  int64       `cbor:"18,keyasint,omitempty"` // of the permit, Unix nanoseconds
		Artifacts []Artifact  `cbor:"19,keyasint,omitempty"` // that artifact.publish would make known
		Deploy    Deploy      `cbor:"20,keyasint,omitzero"`
		Review    string      `cbor:"21,keyasint,omitempty"`
		Change    Digest      `cbor:"22,keyasint,omitzero"` // of a review and of a merge: the same whatever it is based on
		Child     ChildFacts  `cbor:"23,keyasint,omitzero"`
		Observed  []string    `cbor:"24,keyasint,omitempty"` // what rules on trial would have said, deny:RULE or hold:RULE; at most MaxObserved, sorted
		Advice    bool        `cbor:"25,keyasint,omitempty"` // it opens nothing: no permit, no access request, nobody joins a closure
		Pin       Digest      `cbor:"26,keyasint,omitzero"`  // of the definition that the server of a tool gave
		Plan      PlanFacts   `cbor:"27,keyasint,omitzero"`
		Stood     []Stood     `cbor:"28,keyasint,omitempty"` // evidence that stood in for people
		Glass     ID          `cbor:"29,keyasint,omitempty"` // break-glass under which it passes
	}
	// ChildFacts are what the compiled rules found of a child task that was asked for.
	ChildFacts struct {
		Agent    string   `cbor:"1,keyasint"`
		Function Function `cbor:"2,keyasint"`
		Zone     Zone     `cbor:"3,keyasint,omitempty"` // that its grant reaches
		Spec     Digest   `cbor:"4,keyasint"`           // of the whole request, which the task must equal
		Inputs   []Input  `cbor:"5,keyasint,omitempty"`
		Deploy   Deploy   `cbor:"6,keyasint,omitzero"`
		Grant    Digest   `cbor:"7,keyasint"` // of what its agent is granted, with the place of its own branches left open
	}
	// DenialRepeated counts the repeats of a denial that were answered with its entry.
	DenialRepeated struct {
		Entry EntryIndex `cbor:"1,keyasint"`
		Count int        `cbor:"2,keyasint"`
	}
	// AccessOpened is a hold that waits for people.
	AccessOpened struct {
		ID       ID     `cbor:"1,keyasint"`
		Task     ID     `cbor:"2,keyasint,omitempty"` // empty for control steps
		By       ID     `cbor:"3,keyasint,omitempty"` // the person who asked, for control steps
		Effect   Digest `cbor:"4,keyasint"`
		Change   Digest `cbor:"5,keyasint,omitzero"` // the same whatever it is based on
		Card     Digest `cbor:"6,keyasint"`
		Shown    Digest `cbor:"7,keyasint,omitzero"` // commitment of the change as people see it
		Needs    []Need `cbor:"8,keyasint"`
		Closure  []ID   `cbor:"9,keyasint"`
		NotAfter int64  `cbor:"10,keyasint"`
		Zone     Zone   `cbor:"11,keyasint,omitempty"` // the strictest that its steps reach
		Replaces ID     `cbor:"12,keyasint,omitempty"` // the request that it supersedes
		Carried  bool   `cbor:"13,keyasint,omitempty"` // votes on Replaces count here: the change is the same
	}
	VoteCast struct {
		Access    ID        `cbor:"1,keyasint"`
		Person    ID        `cbor:"2,keyasint"`
		Approve   bool      `cbor:"3,keyasint"`
		Key       Digest    `cbor:"4,keyasint"` // SHA-256 of the public key
		Assurance Assurance `cbor:"5,keyasint"`
		Statement Digest    `cbor:"6,keyasint"` // of the bytes as signed
		Signed    SignedIn  `cbor:"7,keyasint,omitzero"`
	}
	// AccessMoved is a change of an access request that no vote made.
	AccessMoved struct {
		Access ID           `cbor:"1,keyasint"`
		To     AccessStatus `cbor:"2,keyasint"`
		Why    Code         `cbor:"3,keyasint,omitempty"`
		By     ID           `cbor:"4,keyasint,omitempty"`
		Needs  []Need       `cbor:"5,keyasint,omitempty"` // what the policy in force now asks for instead
	}
	// Redeemed is the linearisation point: what was revoked before it is never sent.
	Redeemed struct {
		ID       ID     `cbor:"1,keyasint"`
		Permit   ID     `cbor:"2,keyasint"`
		NotAfter int64  `cbor:"3,keyasint"`
		Hash     Digest `cbor:"4,keyasint"`
		// Taints are the labels that it puts on its task and those above it: of what comes in with its answer. Sorted.
		Taints []string `cbor:"5,keyasint,omitempty"`
	}
	Recorded struct {
		Attempt ID      `cbor:"1,keyasint"`
		Outcome Outcome `cbor:"2,keyasint"`
		Code    Code    `cbor:"3,keyasint,omitempty"`
		Receipt Digest  `cbor:"4,keyasint,omitzero"`  // commitment of what the upstream said
		Made    string  `cbor:"5,keyasint,omitempty"` // what the upstream made of it, by its immutable name: the commit of a merge
	}
	// SecretStored: a person put a value into the sealed store, or took it out. The value is nowhere in the log.
	SecretStored struct {
		Name    string `cbor:"1,keyasint"`
		Version int    `cbor:"2,keyasint"` // counted from 1; each value has its own
		Removed bool   `cbor:"3,keyasint,omitempty"`
		By      ID     `cbor:"4,keyasint"`
	}
	// LeaseOpened is a lease in status intended. It is durable before the first call upstream, so nothing can exist that the log does not name (R7).
	LeaseOpened struct {
		ID         ID         `cbor:"1,keyasint"`
		Attempt    ID         `cbor:"2,keyasint"` // on whose redemption it rests
		Task       ID         `cbor:"3,keyasint"` // with which it ends
		Upstream   string     `cbor:"4,keyasint"`
		Zone       Zone       `cbor:"5,keyasint"` // the one that it serves (R4d)
		Target     Resource   `cbor:"6,keyasint"`
		Write      bool       `cbor:"7,keyasint,omitempty"`
		NotAfter   int64      `cbor:"8,keyasint"` // asked for, Unix nanoseconds
		Revocation Revocation `cbor:"9,keyasint"`
		Bound      int64      `cbor:"10,keyasint,omitempty"` // of a bounded revocation, nanoseconds
		Survive    bool       `cbor:"11,keyasint,omitempty"` // sessions that it opened outlive it until they are cut
	}
	// LeaseMoved is a step in a lease's life.
	LeaseMoved struct {
		Lease    ID          `cbor:"1,keyasint"`
		To       LeaseStatus `cbor:"2,keyasint"`
		Code     Code        `cbor:"3,keyasint,omitempty"`
		NotAfter int64       `cbor:"4,keyasint,omitempty"` // its end as the upstream stated it
		Tries    int         `cbor:"5,keyasint,omitempty"`
		Receipt  Digest      `cbor:"6,keyasint,omitzero"`  // commitment of how it was done and what the probe saw
		By       []ID        `cbor:"7,keyasint,omitempty"` // abandon: the two people
	}
	// ClockConfirmed: an administrator says that the clock is right after a jump.
	ClockConfirmed struct {
		By ID `cbor:"1,keyasint"`
	}
)

// StepFacts is one step in a decision's leaf, with the results of everything that reads a payload.
type StepFacts struct {
	Step    Step   `cbor:"1,keyasint"`
	Ref     string `cbor:"2,keyasint,omitempty"`
	Op      RefOp  `cbor:"3,keyasint,omitempty"`
	Old     []byte `cbor:"4,keyasint,omitempty"`
	New     []byte `cbor:"5,keyasint,omitempty"`
	Commits int    `cbor:"6,keyasint,omitempty"`
	// Outside tells that a path lies outside the grant (scope) or the envelope.
	OutsideScope    bool         `cbor:"7,keyasint,omitempty"`
	OutsideEnvelope bool         `cbor:"8,keyasint,omitempty"`
	Protected       []Pattern    `cbor:"9,keyasint,omitempty"`  // patterns that a changed path matched
	Runs            bool         `cbor:"10,keyasint,omitempty"` // an effect's pipeline runs what differs from the trusted ref
	Pushers         []EntryIndex `cbor:"11,keyasint,omitempty"`
	Signers         []ID         `cbor:"12,keyasint,omitempty"`
	Findings        []Code       `cbor:"13,keyasint,omitempty"`
}

func (*Genesis) Kind() string             { return "genesis" }
func (*LeaseOpened) Kind() string         { return "lease.intended" }
func (*LeaseMoved) Kind() string          { return "lease.moved" }
func (*SecretStored) Kind() string        { return "secret.stored" }
func (*SecretDeclared) Kind() string      { return "secret.declared" }
func (*RulesActivated) Kind() string      { return "rules.activated" }
func (*PersonDeclared) Kind() string      { return "person.declared" }
func (*KeyConfirmed) Kind() string        { return "key.confirmed" }
func (*GroupDeclared) Kind() string       { return "group.declared" }
func (*AgentDeclared) Kind() string       { return "agent.declared" }
func (*UpstreamDeclared) Kind() string    { return "upstream.declared" }
func (*RepositoryDeclared) Kind() string  { return "repository.declared" }
func (*EnvironmentDeclared) Kind() string { return "environment.declared" }
func (*BoundaryDeclared) Kind() string    { return "boundary.declared" }
func (*Removed) Kind() string             { return "removed" }
func (*Applied) Kind() string             { return "control.applied" }
func (*PolicyInstalled) Kind() string     { return "policy.installed" }
func (*TaskCreated) Kind() string         { return "task.created" }
func (*TaskEnded) Kind() string           { return "task.ended" }
func (*AgentChanged) Kind() string        { return "agent.changed" }
func (*PersonKilled) Kind() string        { return "person.killed" }
func (*InstanceStarted) Kind() string     { return "instance.started" }
func (*InstanceEnded) Kind() string       { return "instance.ended" }
func (*Decided) Kind() string             { return "decision" }
func (*DenialRepeated) Kind() string      { return "denial.repeated" }
func (*AccessOpened) Kind() string        { return "access.opened" }
func (*VoteCast) Kind() string            { return "vote.cast" }
func (*AccessMoved) Kind() string         { return "access.moved" }
func (*Redeemed) Kind() string            { return "permit.redeemed" }
func (*Recorded) Kind() string            { return "attempt.recorded" }
func (*ClockConfirmed) Kind() string      { return "clock.confirmed" }

// Kinds are the kinds of events that this version knows, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// NewEvent gives an empty event of a kind, to decode into; ok is false for a kind that this version does not know.
func NewEvent(kind string) (_ Event, ok bool) {
	make, ok := kinds[kind]
	if !ok {
		return nil, false
	}
	return make(), true
}

var kinds = map[string]func() Event{
	"genesis":              func() Event { return new(Genesis) },
	"rules.activated":      func() Event { return new(RulesActivated) },
	"person.declared":      func() Event { return new(PersonDeclared) },
	"key.confirmed":        func() Event { return new(KeyConfirmed) },
	"person.invited":       func() Event { return new(PersonInvited) },
	"invitation.withdrawn": func() Event { return new(InvitationWithdrawn) },
	"key.enrolled":         func() Event { return new(KeyEnrolled) },
	"key.admitted":         func() Event { return new(KeyAdmitted) },
	"key.removed":          func() Event { return new(KeyRemoved) },
	"groups.shown":         func() Event { return new(GroupsShown) },
	"group.declared":       func() Event { return new(GroupDeclared) },
	"agent.declared":       func() Event { return new(AgentDeclared) },
	"upstream.declared":    func() Event { return new(UpstreamDeclared) },
	"repository.declared":  func() Event { return new(RepositoryDeclared) },
	"environment.declared": func() Event { return new(EnvironmentDeclared) },
	"boundary.declared":    func() Event { return new(BoundaryDeclared) },
	"secret.stored":        func() Event { return new(SecretStored) },
	"secret.declared":      func() Event { return new(SecretDeclared) },
	"tool.declared":        func() Event { return new(ToolDeclared) },
	"lease.intended":       func() Event { return new(LeaseOpened) },
	"lease.moved":          func() Event { return new(LeaseMoved) },
	"removed":              func() Event { return new(Removed) },
	"control.applied":      func() Event { return new(Applied) },
	"policy.installed":     func() Event { return new(PolicyInstalled) },
	"task.created":         func() Event { return new(TaskCreated) },
	"task.ended":           func() Event { return new(TaskEnded) },
	"agent.changed":        func() Event { return new(AgentChanged) },
	"person.killed":        func() Event { return new(PersonKilled) },
	"instance.started":     func() Event { return new(InstanceStarted) },
	"instance.ended":       func() Event { return new(InstanceEnded) },
	"decision":             func() Event { return new(Decided) },
	"denial.repeated":      func() Event { return new(DenialRepeated) },
	"access.opened":        func() Event { return new(AccessOpened) },
	"vote.cast":            func() Event { return new(VoteCast) },
	"access.moved":         func() Event { return new(AccessMoved) },
	"permit.redeemed":      func() Event { return new(Redeemed) },
	"attempt.recorded":     func() Event { return new(Recorded) },
	"clock.confirmed":      func() Event { return new(ClockConfirmed) },
	"upstream.contained":   func() Event { return new(UpstreamContained) },
	"upstream.scanned":     func() Event { return new(UpstreamScanned) },
	"payloads.erased":      func() Event { return new(PayloadsErased) },
	"log.forked":           func() Event { return new(LogForked) },
	"entry.lost":           func() Event { return new(EntryLost) },
	"detection.declared":   func() Event { return new(DetectionDeclared) },
	"finding.recorded":     func() Event { return new(Found) },
	"break-glass.declared": func() Event { return new(BreakGlassDeclared) },
	"break-glass.opened":   func() Event { return new(BreakGlassOpened) },
	"break-glass.reviewed": func() Event { return new(BreakGlassReviewed) },
	"policy.tried":         func() Event { return new(PolicyTried) },
	"activation.declared":  func() Event { return new(ActivationDeclared) },
	"notify.declared":      func() Event { return new(NotifyDeclared) },
	"access.seen":          func() Event { return new(AccessSeen) },
	"plan.withdrawn":       func() Event { return new(PlanWithdrawn) },
	"answer.kept":          func() Event { return new(AnswerKept) },
	"campaign.declared":    func() Event { return new(CampaignDeclared) },
	"reviews.declared":     func() Event { return new(ReviewsDeclared) },
	"campaign.opened":      func() Event { return new(CampaignOpened) },
	"campaign.closed":      func() Event { return new(CampaignClosed) },
	"review.opened":        func() Event { return new(ReviewOpened) },
	"review.reminded":      func() Event { return new(ReviewReminded) },
	"review.answered":      func() Event { return new(ReviewAnswered) },
	"review.removed":       func() Event { return new(ReviewRemoved) },
	"review.void":          func() Event { return new(ReviewVoid) },
	"review.regranted":     func() Event { return new(ReviewRegranted) },
}
