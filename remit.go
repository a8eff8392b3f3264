// Package remit is the vocabulary of Remit, the authority that developer agents work under: its nouns, the catalogue
// of actions, resource names, events and error codes. It imports the standard library only, so that every room can
// speak these words without knowing any other room.
//
// A few nouns in one paragraph. A Task is requested work; its Grant is what one Agent may do for it. A running copy of
// an agent is an Instance. An instance asks a gateway for something; the gateway classifies it into Steps, each an
// Action on a Resource, and asks for a Decision: allow, deny or hold. A hold becomes an Access request with a work
// order; signed Votes turn it into an approval, good for that effect once. An allow carries a Permit; redeeming it
// gives an Attempt; what came of it is its Outcome. Each of these is an Event in a log that anyone can verify.
package remit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

type (
	// Org is an organisation's id, and the SPIFFE trust domain of its agents: lower-case letters, digits, '-', '.'.
	Org string
	// ID is an opaque id within an organisation, never reused. Its first letter says what it names: T task, I instance,
	// A access request, P permit, X attempt (each with the index of the entry that created it), p person.
	ID string
	// Code is a stable machine-readable reason: an error, a denial, a hold.
	Code string
	// EntryIndex is the place of an event in the log, counted from 0.
	EntryIndex uint64
)

// Digest is a SHA-256.
type Digest [32]byte

// Hash is the SHA-256 of the concatenation of parts.
func Hash(parts ...[]byte) Digest {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return Digest(h.Sum(nil))
}

// Commit is the commitment that stands in a leaf for a payload outside it: SHA-256(salt ‖ body), salt 32 random bytes.
func Commit(salt [32]byte, body []byte) Digest { return Hash(salt[:], body) }

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero tells whether d was never set.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes d as 64 lower-case hex digits; the zero digest is the empty text.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText writes and nothing else.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(d) || hex.EncodeToString(raw) != string(b) {
		return fmt.Errorf("a digest is 64 lower-case hex digits, not %q", b)
	}
	copy(d[:], raw)
	return nil
}

// Payload is personal or large text kept outside the leaf, erasable; the leaf carries its commitment.
type Payload struct {
	Salt [32]byte
	Body []byte // at most 64 KiB
}

// Commitment is what a leaf says of p.
func (p Payload) Commitment() Digest { return Commit(p.Salt, p.Body) }

// MaxPayload is the largest body of a payload, in bytes; what is larger is a blob.
const MaxPayload = 64 << 10

// Verdict is what a decision says.
type Verdict uint8

const (
	Deny Verdict = iota // the zero value denies
	Hold
	Allow
)

var verdicts = [...]string{"deny", "hold", "allow"}

func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return "deny"
}

// MarshalText writes deny, hold or allow.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes and nothing else.
func (v *Verdict) UnmarshalText(b []byte) error {
	for i, name := range verdicts {
		if name == string(b) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("a verdict is allow, hold or deny, not %q", b)
}

// Worse is the stricter of two verdicts: deny before hold before allow.
func Worse(a, b Verdict) Verdict { return min(a, b) }

// Outcome is what came of an attempt.
type Outcome string

const (
	Done            Outcome = "done"
	NotApplied      Outcome = "not_applied"      // proven: nothing changed upstream
	Ambiguous       Outcome = "ambiguous"        // nobody can tell without looking
	AfterRevocation Outcome = "after_revocation" // it was on its way when its authority ended
)

// Valid tells whether o is one of the four.
func (o Outcome) Valid() bool {
	return o == Done || o == NotApplied || o == Ambiguous || o == AfterRevocation
}

// Profile is fixed at genesis: how strictly votes count.
type Profile string

const (
	Team Profile = "team"
	Solo Profile = "solo" // one person: a touch of a hardware key and a delay stand in for a second person, never in production
	Demo Profile = "demo" // one machine, written by quickstart only: software votes of the same host count
)

// Function is what an agent is for; an agent has exactly one and it never changes.
type Function string

const (
	FuncPlan    Function = "plan"
	FuncCode    Function = "code"
	FuncReview  Function = "review"
	FuncBuild   Function = "build"
	FuncRelease Function = "release"
	FuncDeploy  Function = "deploy"
	FuncOperate Function = "operate"
)

// Confinement is how far the launcher kept a command from its person's keys; a fact, not a promise.
type Confinement string

const (
	ConfineNone    Confinement = "none"    // same uid, nothing hidden
	ConfineHome    Confinement = "home"    // listed credential paths are hidden by a mount namespace
	ConfineUID     Confinement = "uid"     // another uid
	ConfineSandbox Confinement = "sandbox" // namespaces of its own: no network but Remit, nothing written but the work tree
	ConfineHost    Confinement = "host"    // another host
)

// Valid tells whether c is one of the five.
func (c Confinement) Valid() bool {
	return c == ConfineNone || c == ConfineHome || c == ConfineUID || c == ConfineSandbox || c == ConfineHost
}

// Assurance is what a vote's key proves.
type Assurance string

const (
	AssuranceNone     Assurance = "none"     // demo profile: may have been cast by a program
	AssuranceSoftware Assurance = "software" // a key in a file or an agent
	AssuranceTouch    Assurance = "touch"    // a person touched a hardware key
	AssuranceSelf     Assurance = "self"     // solo profile: the requester's own touch after the delay
)

// AgentStatus is the life of a registered agent.
type AgentStatus string

const (
	AgentActive    AgentStatus = "active"
	AgentSuspended AgentStatus = "suspended"
	AgentRetired   AgentStatus = "retired" // final: the name is never used again
)

// TaskStatus is the life of a task.
type TaskStatus string

const (
	TaskOpen      TaskStatus = "open"
	TaskWaiting   TaskStatus = "waiting" // no instance, but a hold is open or met
	TaskCompleted TaskStatus = "completed"
	TaskCancelled TaskStatus = "cancelled"
	TaskKilled    TaskStatus = "killed"
	TaskExpired   TaskStatus = "expired"
)

// AccessStatus is the life of an access request and of the approval that it becomes.
type AccessStatus string

const (
	AccessOpen     AccessStatus = "open"
	AccessMet      AccessStatus = "met"      // enough votes; the executor may claim it
	AccessReserved AccessStatus = "reserved" // a permit rests on it
	AccessUsed     AccessStatus = "used"
	AccessVoid     AccessStatus = "void" // stale, expired, vetoed, superseded or dropped: Access.Why says which
)

// Permit is the single-use token that comes with an allow. It is a bearer secret: whoever holds it may redeem it, once.
// The log knows only the hash of Secret.
type Permit struct {
	ID     ID
	Secret [32]byte
}

// Attempt is one redemption of a permit: good for one credential and one record.
type Attempt struct {
	ID       ID
	Secret   [32]byte
	NotAfter time.Time
}

// Rules is the version of the compiled rules (Decide and Apply) that this source states. A log names the version in
// force by its rules.activated entries; a change of meaning raises it and keeps the old branch.
//
// 2: what comes in with an answer is kept as labels of its task, and a policy sees them and the task's history.
// 3: what a reviewer hands on counts as its own verdict.
const Rules = 3
