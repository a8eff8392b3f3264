package authority

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/remit-dev/remit"
)

// Command is anything that may change State. A command is stored beside the log as the payload that its first entry
// commits to, so that every decision can be derived again; texts and secrets stand in it as commitments and hashes.
type Command interface{ name() string }

// Init is genesis; only the command line of a fresh directory makes it, never the network.
type Init struct {
	Org      remit.Org
	Origin   string
	Verifier string
	Profile  remit.Profile
	OPA      string
	Admins   []remit.PersonDeclared
	Policy   remit.Digest
}

// Set is a set of declarations with people as ids and texts as commitments. Members keep the order in which they were
// declared, so that an error can name its place.
type Set struct {
	People       []remit.PersonDeclared
	Groups       []remit.GroupDeclared
	Agents       []remit.AgentDeclared
	Upstreams    []remit.UpstreamDeclared
	Repositories []remit.RepositoryDeclared
	Environments []remit.EnvironmentDeclared
	Secrets      []remit.SecretDeclared
	Boundaries   []remit.BoundaryDeclared
	Detections   []remit.DetectionDeclared  `json:",omitempty"` // the digest of a set without them stays what it was
	Tools        []remit.ToolDeclared       `json:",omitempty"`
	BreakGlass   []remit.BreakGlassDeclared `json:",omitempty"`
	Notify       remit.Digest               `json:",omitzero"`  // commitment of the channels and escalations
	Campaigns    []remit.CampaignDeclared   `json:",omitempty"` // with defaults filled in (remit.Declarations.Campaign)
	Reviews      *remit.ReviewsDeclared     `json:",omitempty"` // with defaults filled in; nil: reviews are not in force
	Activations  []remit.ActivationDeclared `json:",omitempty"`
	Policy       remit.Digest               // zero: as it is
	// PolicyWidens is why the new bundle may allow what the old one did not; empty when it only adds modules that nothing
	// of the old one reads.
	PolicyWidens string
	// ReachWidens is what an agent reaches by the set that it did not before, by analysis of both, or why that cannot be said;
	// empty when there is nothing.
	ReachWidens string `json:",omitempty"`
}

type (
	// ApplySet puts declarations in force. Access is set when a second administrator has approved it.
	ApplySet struct {
		By     remit.ID
		Set    Set
		Access remit.ID
	}
	// CreateTask requests work. For is in nanoseconds; 0 is 8 hours.
	CreateTask struct {
		By       remit.ID
		Agent    string
		Intent   remit.Digest
		Scope    []remit.Scope
		Envelope remit.Envelope
		Budget   remit.Budget
		For      int64
	}
	// CreateChild makes the task that a redeemed task.request or task.delegate asked for; it is the one that was decided.
	CreateChild struct {
		Attempt remit.ID
		Child   remit.Child
	}
	// StartJob makes a CI job an instance of an agent, on the child task that asked for the build of its commit. The
	// identity room has verified the job's token; these are the claims of it that decide.
	StartJob struct {
		Issuer      string // the declared upstream
		Repository  string // immutable id
		Workflow    string // path of the workflow file, without ref
		Environment string
		Commit      string
		Claims      remit.Digest // commitment of all that the token says
		Token       remit.Digest // of the token's own id: a token starts one instance
		Secret      remit.Digest
		Host        remit.Digest
	}
	// OpenLease writes down a credential that is about to be made, for the attempt that it serves.
	OpenLease struct {
		Attempt    remit.ID
		Upstream   string
		Target     remit.Resource
		Write      bool
		For        int64 // nanoseconds
		Revocation remit.Revocation
		Bound      int64
		Survive    bool
	}
	// MoveLease is what the broker did, or saw.
	MoveLease struct {
		Lease    remit.ID
		To       remit.LeaseStatus
		Code     remit.Code
		NotAfter int64
		Tries    int
		Receipt  remit.Digest
	}
	// AbandonLease gives a lease up that cannot be seen dead. It holds for a second person, always.
	AbandonLease struct {
		By     remit.ID
		Lease  remit.ID
		Reason remit.Digest // commitment
		Access remit.ID     // the approval
	}
	// StoreSecret says that the value of a declared secret was put into the sealed store, as the version after the last
	// one, or removed from it.
	StoreSecret struct {
		By      remit.ID
		Name    string
		Version int
		Removed bool
	}
	// EndTask completes or cancels a task. By is a person, or Instance its own instance.
	EndTask struct {
		By        remit.ID
		Instance  remit.ID
		Task      remit.ID
		Status    remit.TaskStatus
		DropHolds bool
	}
	// Kill ends a task, an agent's or a person's authority at once, or withdraws the plan that an access request put in
	// force, or would; that an instance of its task does too.
	Kill struct {
		By       remit.ID
		What     string // task | agent | person | plan
		ID       remit.ID
		Instance remit.ID `json:",omitempty"`
	}
	// ChangeAgent suspends, resumes or retires.
	ChangeAgent struct {
		By    remit.ID
		Agent string
		To    remit.AgentStatus
	}
	// StartInstance is what a launcher asks for.
	StartInstance struct {
		By          remit.ID
		Task        remit.ID
		Confinement remit.Confinement
		Secret      remit.Digest
		Host        remit.Digest
		Ungoverned  []string // variables; sorted
	}
	// EndInstance: the command ended, or its launcher was not heard of.
	EndInstance struct {
		Instance remit.ID
		Lost     bool
	}
	// Authorize is a gateway's request. Judged is what the policy found over the facts of the caller's own state.
	Authorize struct {
		Request remit.Request
		Hash    remit.Digest // of the permit's secret, should there be one
		Judged  *Judged      `json:"-"`
	}
	// Redeem spends a permit; Proof is the hash of the secret that was shown.
	Redeem struct {
		Permit remit.ID
		Proof  remit.Digest
		Hash   remit.Digest // of the attempt's secret
	}
	// Record says what came of an attempt.
	Record struct {
		Attempt remit.ID
		Outcome remit.Outcome
		Code    remit.Code
		Receipt remit.Digest
		Made    string
	}
	// CastVote is a signed statement.
	CastVote struct {
		Access    remit.ID
		Person    remit.ID
		Statement []byte
		Signature []byte // armored SSHSIG
		Host      remit.Digest
		Loopback  bool
		// Signed is how the voter was signed in, without its age; Proved is when they proved to be there, Unix time in
		// nanoseconds, 0 if nobody said.
		Signed remit.SignedIn `json:",omitzero"`
		Proved int64          `json:",omitempty"`
	}
	// ConfirmKey proves a new key of a person with an older one: a signature over ConfirmStatement.
	ConfirmKey struct {
		Person    remit.ID
		Key       remit.Digest
		Signature []byte
	}
	// CountDenials reports repeats of a denial.
	CountDenials struct {
		Entry remit.EntryIndex
		Count int
	}
	// ErasePayloads takes payloads away for good. Its own payload stays: it says what must not be forgotten with them.
	ErasePayloads struct {
		By       remit.ID
		What     string             // task | person | entry
		ID       remit.ID           `json:",omitempty"` // of the task or the person
		Entries  []remit.EntryIndex // at which they stand, ascending
		Tasks    []remit.ID         `json:",omitempty"` // whose entries those are; sorted
		Payloads []remit.Digest
		Blobs    []remit.Digest  `json:",omitempty"` // that hold what was too large for a payload
		Brought  []remit.Brought `json:",omitempty"`
		Reason   remit.Digest    // commitment
		Access   remit.ID        // the approval
	}
	// Restore goes on from a backup of the log. Statement is what administrators signed; no route takes it.
	Restore struct {
		Statement  []byte
		Signatures [][]byte // armored SSHSIG
	}
	// FillLost writes the next entries in the place of those that were lost.
	FillLost struct{}
	// RecordFinding is what a detection found. Remit itself makes it; no route does.
	RecordFinding struct {
		Detection string
		Agent     string   `json:",omitempty"`
		Task      remit.ID `json:",omitempty"`
		Instance  remit.ID `json:",omitempty"`
		Entries   []remit.EntryIndex
		Count     int
	}
	// ConfirmClock lets decisions go on after the clock jumped.
	ConfirmClock struct{ By remit.ID }
	// Tick makes true what time alone decides.
	Tick struct{}
)

func (*Init) name() string          { return "init" }
func (*ApplySet) name() string      { return "apply" }
func (*CreateTask) name() string    { return "task.create" }
func (*StoreSecret) name() string   { return "secret.store" }
func (*EndTask) name() string       { return "task.end" }
func (*CreateChild) name() string   { return "task.child" }
func (*StartJob) name() string      { return "job.start" }
func (*OpenLease) name() string     { return "lease.open" }
func (*MoveLease) name() string     { return "lease.move" }
func (*AbandonLease) name() string  { return "lease.abandon" }
func (*Kill) name() string          { return "kill" }
func (*ChangeAgent) name() string   { return "agent.change" }
func (*StartInstance) name() string { return "instance.start" }
func (*EndInstance) name() string   { return "instance.end" }
func (*Authorize) name() string     { return "authorize" }
func (*Redeem) name() string        { return "redeem" }
func (*Record) name() string        { return "record" }
func (*CastVote) name() string      { return "vote" }
func (*ConfirmKey) name() string    { return "key.confirm" }
func (*CountDenials) name() string  { return "denials.count" }
func (*ConfirmClock) name() string  { return "clock.confirm" }
func (*RecordFinding) name() string { return "finding.record" }
func (*ErasePayloads) name() string { return "erase" }
func (*Restore) name() string       { return "restore" }
func (*FillLost) name() string      { return "restore.fill" }
func (*Tick) name() string          { return "tick" }

// commands are the types of all commands, by name.
var commands = func() map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, c := range []Command{&Init{}, &ApplySet{}, &CreateTask{}, &CreateChild{}, &StartJob{}, &OpenLease{}, &MoveLease{}, &AbandonLease{}, &ContainUpstream{}, &RecordScan{}, &StoreSecret{}, &EndTask{}, &DropHold{}, &Kill{}, &ChangeAgent{}, &StartInstance{},
		&EndInstance{}, &Authorize{}, &Redeem{}, &Record{}, &CastVote{}, &OpenGlass{}, &ReviewGlass{}, &Answers{}, &StepReviews{}, &OpenRun{}, &Regrant{}, &ReviveAgent{}, &SeeAccess{}, &ConfirmKey{}, &Invite{}, &WithdrawInvitation{}, &EnrolKey{}, &RemoveKey{}, &ShowGroups{}, &KeepAnswer{}, &CountDenials{}, &ConfirmClock{}, &RecordFinding{}, &RecordTrial{}, &ErasePayloads{}, &Restore{}, &FillLost{}, &Tick{}} {
		out[c.name()] = reflect.TypeOf(c).Elem()
	}
	return out
}()

// maxCommand bounds a stored command: a push of 100,000 changed paths fits.
const maxCommand = 32 << 20

// opening, middle and closing are what stands around the name and the body of a stored command.
const opening, middle, closing = `{"command":"`, `","body":`, `}`

// EncodeCommand is the stored form of c.
func EncodeCommand(c Command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding command %s: %w", c.name(), err)
	}
	if replaced(body) {
		return nil, remit.Errorf(remit.BadRequest, "a text in %s is not UTF-8, so it could not be read again as it is", c.name())
	}
	// By hand: encoding/json would check the body once more, and a name needs no escape.
	return slices.Concat([]byte(opening+c.name()+middle), body, []byte(closing)), nil
}

// replaced tells whether encoding/json wrote the escape for U+FFFD, which it does in the place of bytes that are not
// UTF-8 only: a command that is decided is the one that is stored.
func replaced(body []byte) bool {
	const escape = `\ufffd`
	for i := 0; ; i++ {
		n := bytes.Index(body[i:], []byte(escape))
		if n < 0 {
			return false
		}
		i += n
		before := len(body[:i]) - len(bytes.TrimRight(body[:i], `\`))
		if before%2 == 0 { // otherwise the backslash itself was escaped
			return true
		}
	}
}

// DecodeCommand reads what EncodeCommand wrote and nothing else.
func DecodeCommand(b []byte) (Command, error) {
	inner, opened := bytes.CutPrefix(b, []byte(opening))
	name, body, named := bytes.Cut(inner, []byte(middle))
	body, closed := bytes.CutSuffix(body, []byte(closing))
	if !opened || !named || !closed {
		return nil, remit.Errorf(remit.BadRequest, "a stored command is %sNAME%sBODY%s", opening, middle, closing)
	}
	t := commands[string(name)]
	if t == nil {
		return nil, fmt.Errorf("command %q is not one of this version", name)
	}
	c := reflect.New(t).Interface().(Command)
	if err := remit.DecodeStrict(bytes.NewReader(body), maxCommand, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Judged is a finding with what it was judged on; Decide refuses one that was judged on other facts than it sees, or by
// another policy. Make one with NewJudged.
type Judged struct {
	facts          Facts
	digest, policy remit.Digest // of facts, of the policy's bundle
	finding        Finding
}

// NewJudged is what the policy of a digest found over f. Nobody changes f any more.
func NewJudged(f Facts, policy remit.Digest, found Finding) *Judged {
	return &Judged{facts: f, digest: f.Digest(), policy: policy, finding: found}
}

// on tells whether it was judged on f. Comparing costs a third of encoding f again for its digest.
func (j *Judged) on(f *Facts) bool { return reflect.DeepEqual(&j.facts, f) }

// Stale is returned by Decide when there is no finding, or it does not fit the state: judge these facts and try again.
type Stale struct{ Facts Facts }

func (*Stale) Error() string { return "authority: the facts changed; judge them again" }

// Result is what Decide says to the caller. It is true only once the events are durable.
type Result struct {
	Decision   remit.Decision
	Attempt    remit.Attempt // without its secret
	Redemption *Redemption
	ID         remit.ID // of what was created
	Changes    []remit.Change
	Observed   []remit.Observation // what rules on trial would have said of a request
}

// Redemption is the token without which no credential can be had. Its members are unexported: only Decide makes one,
// and only engine calls Decide (a test of the architecture holds that).
type Redemption struct {
	attempt  remit.ID
	task     remit.ID
	steps    []remit.Step
	zone     remit.Zone
	notAfter int64

	executor  string
	artifacts []remit.Artifact
	deploy    remit.Deploy
}

// Valid is false for nil and for the zero value, which any package can make; a broker refuses those.
func (r *Redemption) Valid() bool { return r != nil && r.attempt != "" && len(r.steps) > 0 }

// Attempt is the attempt that this redemption is of.
func (r *Redemption) Attempt() remit.ID { return r.attempt }

// Task is whose grant it rests on.
func (r *Redemption) Task() remit.ID { return r.task }

// Steps are the asked steps, without effects.
func (r *Redemption) Steps() []remit.Step { return append([]remit.Step(nil), r.steps...) }

// Zone is the one zone that a credential for it may serve.
func (r *Redemption) Zone() remit.Zone { return r.zone }

// NotAfter is when the attempt ends, Unix nanoseconds.
func (r *Redemption) NotAfter() int64 { return r.notAfter }

// Executor is who carries out a work order; empty: the instance that asked.
func (r *Redemption) Executor() string { return r.executor }

// Artifacts are what a step artifact.publish makes known.
func (r *Redemption) Artifacts() []remit.Artifact {
	return append([]remit.Artifact(nil), r.artifacts...)
}

// Deploy is what a step deploy.promote or deploy.rollback does; its environment is empty where there is none.
func (r *Redemption) Deploy() remit.Deploy {
	d := r.deploy
	d.Artifacts = append([]remit.Artifact(nil), d.Artifacts...)
	return d
}
