package remit

import (
	"encoding/json"
	"time"
)

// The types of the HTTP API, /v1/orgs/{org}/…; the same in server and client. Times are RFC 3339.

// Health is what a stranger may know: whether the server decides.
type Health struct {
	OK      bool   `json:"ok"`
	Reason  string `json:"reason,omitempty"`
	Version string `json:"version"`
}

// OrgInfo is what a client needs before anybody has signed in.
type OrgInfo struct {
	Org      Org     `json:"org"`
	Origin   string  `json:"origin"`   // of the log
	Verifier string  `json:"verifier"` // key of its checkpoints
	Profile  Profile `json:"profile"`
	RPID     string  `json:"rp_id,omitempty"` // of passkeys here; none: the server's address has no host name
}

// ChallengeRequest asks for something to sign.
type ChallengeRequest struct {
	Key []byte `json:"key,omitempty"` // SSH wire format; none for a passkey, which the browser finds
}

// Challenge is the text to sign, in namespace signin@remit.
type Challenge struct {
	Text    []byte      `json:"text"`
	Passkey *PasskeyAsk `json:"passkey,omitempty"` // the same for a passkey
}

// SignIn exchanges a signed challenge for a session.
type SignIn struct {
	Text      []byte `json:"text"`
	Signature []byte `json:"signature"` // armored SSHSIG
	// Browser keeps the session in a cookie, and gives no token.
	Browser bool `json:"browser,omitempty"`
}

// Session is a person who signed in.
type Session struct {
	Token    string    `json:"token,omitempty"`
	Person   ID        `json:"person"`
	Name     string    `json:"name"`
	Admin    bool      `json:"admin"`
	NotAfter time.Time `json:"not_after"`
	SessionFacts
}

// ApplyRequest puts declarations in force; with DryRun it only says what would change.
type ApplyRequest struct {
	Declarations Declarations `json:"declarations"`
	DryRun       bool         `json:"dry_run,omitempty"`
}

// ApplyAnswer says what changed, or would; a widening change may be held.
type ApplyAnswer struct {
	Changes  []Change `json:"changes"`
	Decision Decision `json:"decision"`
}

// TaskView is a task as people see it.
type TaskView struct {
	ID        ID         `json:"id"`
	Status    TaskStatus `json:"status"`
	Live      bool       `json:"live"`
	Agent     string     `json:"agent"`
	Requester string     `json:"requester"` // name
	Intent    string     `json:"intent"`    // the requester's words
	Grant     []Scope    `json:"grant"`
	Envelope  Envelope   `json:"envelope,omitzero"`
	Budget    Budget     `json:"budget,omitzero"`
	Decisions int        `json:"decisions"` // used
	Bytes     int64      `json:"bytes"`     // used
	Created   time.Time  `json:"created"`
	Deadline  time.Time  `json:"deadline"`
	Parent    ID         `json:"parent,omitempty"`
	Function  Function   `json:"function"`         // of its agent
	Inputs    []Input    `json:"inputs,omitempty"` // what a child task rests on
	Delegated bool       `json:"delegated,omitempty"`
	Deploy    *Deploy    `json:"deploy,omitempty"`
	Branch    string     `json:"branch"` // refs/heads/remit/T-12
	Holds     []ID       `json:"holds,omitempty"`
	Instances []ID       `json:"instances,omitempty"`
	Entry     EntryIndex `json:"entry"`
	// Ungoverned names the credentials that it was handed past Remit (remit run --env).
	Ungoverned []string `json:"ungoverned,omitempty"`
	// Dropped is what was asked for and is not in Grant; in the answer to the request only.
	Dropped []Scope `json:"dropped,omitempty"`
}

// EndRequest ends a task.
type EndRequest struct {
	DropHolds bool `json:"drop_holds,omitempty"`
}

// KillRequest ends authority at once. What is task, agent or person; ID is a task's id or a name.
type KillRequest struct {
	What string `json:"what"`
	ID   string `json:"id"`
}

// AgentView is an agent as people see it.
type AgentView struct {
	Name         string      `json:"name"`
	SPIFFEID     string      `json:"spiffe_id"`
	Function     Function    `json:"function"`
	Status       AgentStatus `json:"status"`
	Owner        string      `json:"owner"`
	Purpose      string      `json:"purpose"`
	Requesters   []string    `json:"requesters,omitempty"`
	Entitlements []Scope     `json:"entitlements"`
	Expires      *time.Time  `json:"expires,omitempty"`
	Review       *time.Time  `json:"review,omitempty"`
	LastUse      *time.Time  `json:"last_use,omitempty"`
	Idle         *time.Time  `json:"idle,omitempty"`  // when it suspended or retired itself because nobody used it
	Tasks        []ID        `json:"tasks,omitempty"` // live
}

// InstanceRequest is what a launcher asks for.
type InstanceRequest struct {
	Task        ID          `json:"task"`
	Confinement Confinement `json:"confinement"`
	Ungoverned  []string    `json:"ungoverned,omitempty"` // names of known credentials that were passed through on request
}

// InstanceView is a started instance. Secret is shown once.
type InstanceView struct {
	ID       ID        `json:"id"`
	Task     ID        `json:"task"`
	Agent    string    `json:"agent"`
	SPIFFEID string    `json:"spiffe_id"`
	Secret   []byte    `json:"secret,omitempty"`
	Branch   string    `json:"branch"` // refs/heads/remit/T-12
	Gateway  string    `json:"gateway"`
	Rewrites []Rewrite `json:"rewrites,omitempty"`
	MCP      []string  `json:"mcp,omitempty"` // names of the MCP servers that the task's grant names anything of, sorted
	Deadline time.Time `json:"deadline"`
}

// Rewrite says that what git would fetch from and push to under From goes to To.
type Rewrite struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// TokenRequest asks for a token for one gateway.
type TokenRequest struct {
	Gateway string `json:"gateway"` // git, probe
}

// Token is a short-lived bearer of one instance's authority at one gateway.
type Token struct {
	Token    string    `json:"token"`
	NotAfter time.Time `json:"not_after"`
}

// SVIDRequest asks for an X.509-SVID.
type SVIDRequest struct {
	CSR []byte `json:"csr"` // PKCS #10, DER
}

// SVID is a certificate chain, leaf first, and the bundle that it is verified by; each certificate DER.
type SVID struct {
	Chain    [][]byte  `json:"chain"`
	Bundle   [][]byte  `json:"bundle"`
	NotAfter time.Time `json:"not_after"`
}

// VoteView is a vote on a card.
type VoteView struct {
	Person    string    `json:"person"`
	Approve   bool      `json:"approve"`
	Assurance Assurance `json:"assurance"`
	At        time.Time `json:"at"`
	Signed    SignedIn  `json:"signed,omitzero"` // how they were signed in
}

// AccessView is the card: what a person needs to decide.
type AccessView struct {
	ID          ID              `json:"id"`
	Status      AccessStatus    `json:"status"`
	Why         Code            `json:"why,omitempty"` // of void
	Outcome     Outcome         `json:"outcome,omitempty"`
	Profile     Profile         `json:"profile"`
	Task        ID              `json:"task,omitempty"`
	Requester   string          `json:"requester,omitempty"`
	Intent      string          `json:"intent,omitempty"` // the words of whoever requested the task: a claim, not a fact
	Agent       string          `json:"agent,omitempty"`
	Function    Function        `json:"function,omitempty"`
	Owner       string          `json:"owner,omitempty"`
	Launcher    string          `json:"launcher,omitempty"`
	By          string          `json:"by,omitempty"` // who asked, for control steps
	Confinement Confinement     `json:"confinement,omitempty"`
	Ungoverned  []string        `json:"ungoverned,omitempty"` // credentials that the task was handed past Remit
	Steps       []Step          `json:"steps"`
	Refs        []RefView       `json:"refs,omitempty"`
	Artifacts   []Artifact      `json:"artifacts,omitempty"` // what is published, or deployed; the effect binds it
	Shown       *Shown          `json:"shown,omitempty"`     // the change, as the gateway read it
	Plan        *PlanView       `json:"plan,omitempty"`      // that is filed, beside what was used of the task's plans
	Deviates    *PlanView       `json:"deviates,omitempty"`  // the plan that people agreed to, which this lies outside of; the sentence says by what
	Changes     []Change        `json:"changes,omitempty"`   // of declarations
	Tried       *TrialView      `json:"tried,omitempty"`     // the newest trial of them, or of their bundle alone
	Rules       []string        `json:"rules"`
	Sentence    string          `json:"sentence"`
	Observed    []Observation   `json:"observed,omitempty"` // what rules on trial would have said
	Reach       []Scope         `json:"reach,omitempty"`    // what the agent's grant reaches besides
	Needs       []Need          `json:"needs"`
	Zone        Zone            `json:"zone"`
	Votes       []VoteView      `json:"votes"`
	Eligible    []string        `json:"eligible"`          // who may vote
	Refused     []string        `json:"refused,omitempty"` // who of the named may not, and why
	YouMay      bool            `json:"you_may"`
	WhyNot      string          `json:"why_not,omitempty"` // why you may not
	Opened      time.Time       `json:"opened"`
	NotAfter    time.Time       `json:"not_after"`
	Effect      Digest          `json:"effect"`
	Change      Digest          `json:"change,omitzero"`
	Card        Digest          `json:"card"`
	Fixed       json.RawMessage `json:"fixed"` // the fixed part of the card: its digest is Card
	Link        string          `json:"link"`  // a page that reads well on a phone, good until NotAfter
	Entry       EntryIndex      `json:"entry"`
	Decision    EntryIndex      `json:"decision"`
	Receipt     string          `json:"receipt,omitempty"` // what the upstream said
	Replaces    ID              `json:"replaces,omitempty"`
	Carried     bool            `json:"carried,omitempty"`     // it is the same change on another base: votes on Replaces count for it
	ReplacedBy  ID              `json:"replaced_by,omitempty"` // the request that took its place
	Failed      Code            `json:"failed,omitempty"`      // of Outcome: why it was not done
}

// RefView is a ref that a push moves.
type RefView struct {
	Ref     string   `json:"ref"`
	Op      RefOp    `json:"op"`
	Old     string   `json:"old,omitempty"`
	New     string   `json:"new,omitempty"`
	Commits int      `json:"commits"`
	Outside int      `json:"outside,omitempty"` // commits brought outside Remit
	Effects []string `json:"effects,omitempty"` // what pushing it causes
	Matched []string `json:"matched,omitempty"` // protected patterns that it touches
}

// Shown is the payload with which a gateway shows people a change. All of it was read from the objects; names and
// messages in commits are what somebody wrote there.
type Shown struct {
	Commits []ShownCommit `json:"commits,omitempty"` // at most 50
	Paths   []ShownPath   `json:"paths,omitempty"`   // at most 500
	More    int           `json:"more,omitempty"`    // paths that are not listed
	// MoreCommits counts the commits that are not listed.
	MoreCommits int    `json:"more_commits,omitempty"`
	Diff        string `json:"diff,omitempty"` // unified, at most 32 KiB
	Cut         bool   `json:"cut,omitempty"`  // the diff goes on
}

// ShownCommit is a commit as it describes itself.
type ShownCommit struct {
	ID      string `json:"id"`
	Author  string `json:"author"` // claimed
	Subject string `json:"subject"`
}

// ShownPath is a changed path.
type ShownPath struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // add | modify | delete | type | past
	Note string `json:"note,omitempty"`
}

// VoteRequest is a signed statement: with an armored SSHSIG, or with what a passkey signed for it.
type VoteRequest struct {
	Statement  []byte     `json:"statement"`
	Signature  []byte     `json:"signature,omitempty"`
	Credential *Assertion `json:"credential,omitempty"`
}

// ConfirmKeyRequest confirms a new key with an older one.
type ConfirmKeyRequest struct {
	Key       Digest `json:"key"`
	Signature []byte `json:"signature"`
}

// DecisionView explains a decision: remit why.
type DecisionView struct {
	Entry    EntryIndex `json:"entry"`
	At       time.Time  `json:"at"`
	Verdict  Verdict    `json:"verdict"`
	Code     Code       `json:"code,omitempty"`
	Meaning  string     `json:"meaning,omitempty"` // of the code
	Rules    []string   `json:"rules,omitempty"`
	Sentence string     `json:"sentence,omitempty"`
	Gateway  string     `json:"gateway"`
	Agent    string     `json:"agent,omitempty"`
	Instance ID         `json:"instance,omitempty"`
	Task     ID         `json:"task,omitempty"`
	Executor string     `json:"executor,omitempty"`
	Steps    []Step     `json:"steps"`
	Refs     []RefView  `json:"refs,omitempty"`
	Access   ID         `json:"access,omitempty"`
	Policy   Digest     `json:"policy,omitzero"`
	Facts    Digest     `json:"facts,omitzero"`
	Outcome  Outcome    `json:"outcome,omitempty"`
	// Observed is what rules on trial would have said; without texts where the decision is not derived again.
	Observed []Observation `json:"observed,omitempty"`
	Derived  bool          `json:"derived"` // deriving it again just now gave the same
	// ErasedBy is the entry that erased what it was decided on; missing: none did.
	ErasedBy EntryIndex `json:"erased_by,omitempty"`
}

// TraceStep is one line of a task's story.
type TraceStep struct {
	Entry    EntryIndex `json:"entry"`
	At       time.Time  `json:"at"`
	Depth    int        `json:"depth"` // 0: of the task itself; 1: follows from the line before at depth 0
	Kind     string     `json:"kind"`  // of the event
	Actor    string     `json:"actor"`
	Action   string     `json:"action,omitempty"`
	Resource string     `json:"resource,omitempty"`
	Verdict  string     `json:"verdict,omitempty"`
	Code     Code       `json:"code,omitempty"`
	Sentence string     `json:"sentence"`
	ErasedBy EntryIndex `json:"erased_by,omitempty"` // the entry that erased what its decision was made on
}

// Trace is a task's story from intent to outcome.
type Trace struct {
	Task  TaskView    `json:"task"`
	Steps []TraceStep `json:"steps"`
	// Children are the stories of the tasks that it asked for, in their order; at most 200 in all.
	Children []Trace `json:"children,omitempty"`
}

// LogEntry is an entry for people: its JSON view beside its place.
type LogEntry struct {
	Entry EntryIndex      `json:"entry"`
	Leaf  json.RawMessage `json:"leaf"`
	Hash  string          `json:"hash"` // RFC 6962 leaf hash, base64
}

// LogHead is the signed head, with what an outsider keeps to check later logs against.
type LogHead struct {
	Size       uint64 `json:"size"`
	Root       Digest `json:"root"`
	Checkpoint string `json:"checkpoint"` // C2SP tlog-checkpoint, signed
	Verifier   string `json:"verifier"`
	Trust      string `json:"trust"` // the trust file for remit log verify
}

// PolicyView is the bundle in force.
type PolicyView struct {
	Digest Digest       `json:"digest"`
	Files  []PolicyFile `json:"files"`
}

// Created answers with the id of what was made.
type Created struct {
	ID ID `json:"id"`
}

// Problem is how the API says no: application/problem+json (RFC 9457) with a stable code.
type Problem struct {
	Code   Code   `json:"code"`
	Title  string `json:"title"`  // what the code means
	Detail string `json:"detail"` // what is wrong, where, and what would be right
	Path   string `json:"path,omitempty"`
	Status int    `json:"status"`
}
