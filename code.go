package remit

import "fmt"

// Exit codes of the command line (64 and up are sysexits.h).
const (
	ExitOK      = 0
	ExitError   = 1
	ExitUsage   = 2
	ExitDenied  = 3
	ExitUnseen  = 4  // nothing bad enough was found, and not everything could be seen
	ExitWaiting = 75 // EX_TEMPFAIL: held, waiting for people
)

// CodeInfo is one line of the registry of codes: what it means, and how it shows over HTTP and in a shell.
type CodeInfo struct {
	Code    Code   `json:"code"`
	HTTP    int    `json:"http"`
	Exit    int    `json:"exit"`
	Meaning string `json:"meaning"`
}

const (
	UnknownAction    Code = "UNKNOWN_ACTION"
	UnknownResource  Code = "UNKNOWN_RESOURCE"
	UnknownPrincipal Code = "UNKNOWN_PRINCIPAL"
	BadRequest       Code = "BAD_REQUEST"
	NotFound         Code = "NOT_FOUND"
	Unauthenticated  Code = "UNAUTHENTICATED"
	Forbidden        Code = "FORBIDDEN"
	NoPolicy         Code = "NO_POLICY"
	PolicyError      Code = "POLICY_ERROR"
	PolicyResult     Code = "POLICY_RESULT"
	PolicyTimeout    Code = "POLICY_TIMEOUT"
	PolicyDenied     Code = "POLICY_DENIED"
	PolicyHeld       Code = "POLICY_HELD"
	NotLive          Code = "NOT_LIVE"
	OutOfScope       Code = "OUT_OF_SCOPE"
	RefOutOfScope    Code = "REF_OUT_OF_SCOPE"
	PathOutOfScope   Code = "PATH_OUT_OF_SCOPE"
	OutOfEnvelope    Code = "OUT_OF_ENVELOPE"
	OverLimit        Code = "OVER_LIMIT"
	OverBudget       Code = "OVER_BUDGET"
	CrossesBoundary  Code = "BOUNDARY"
	Separation       Code = "SEPARATION"
	PathProtected    Code = "PATH_PROTECTED"
	EffectHeld       Code = "EFFECT_HELD"
	ImpactHeld       Code = "IMPACT_HELD"
	ControlWidens    Code = "CONTROL_WIDENS"
	NoApprover       Code = "NO_ELIGIBLE_APPROVER"
	NotEligible      Code = "NOT_ELIGIBLE"
	BadVote          Code = "BAD_VOTE"
	StepUpWanted     Code = "STEP_UP"
	TooManyHolds     Code = "TOO_MANY_HOLDS"
	TooLargeToJudge  Code = "TOO_LARGE_TO_JUDGE"
	TooLarge         Code = "TOO_LARGE"
	UnseenObject     Code = "UNSEEN_OBJECT"
	BadObject        Code = "BAD_OBJECT"
	BadPack          Code = "BAD_PACK"
	BadRef           Code = "BAD_REF"
	LFSUnsupported   Code = "LFS_UNSUPPORTED"
	Stale            Code = "STALE"
	Expired          Code = "EXPIRED"
	Vetoed           Code = "VETOED"
	Superseded       Code = "SUPERSEDED"
	Dropped          Code = "DROPPED"
	AlreadyUsed      Code = "ALREADY_USED"
	Conflict         Code = "CONFLICT"
	MediaType        Code = "MEDIA_TYPE"
	KeyReused        Code = "KEY_REUSED"
	KeyInUse         Code = "KEY_IN_USE"
	ClockInDoubt     Code = "CLOCK"
	LedgerDown       Code = "LEDGER_UNAVAILABLE"
	Overload         Code = "OVERLOAD"
	Draining         Code = "DRAINING"
	UpstreamDown     Code = "UPSTREAM_UNAVAILABLE"
	NoSpace          Code = "NO_SPACE"
	EvidenceMissing  Code = "EVIDENCE_MISSING"
	RollbackUnknown  Code = "ROLLBACK_UNKNOWN"
	ReviewMissing    Code = "REVIEW_MISSING"
	Contained        Code = "CONTAINED"
	ToolDrift        Code = "TOOL_DRIFT"
	ToolMisjudged    Code = "TOOL_MISJUDGED"
	NotTried         Code = "NOT_TRIED"
	PlanInexact      Code = "PLAN_INEXACT"
	HoldBudget       Code = "HOLD_BUDGET"
	GlassOverdue     Code = "GLASS_OVERDUE"
	Internal         Code = "INTERNAL"
)

var codes = []CodeInfo{
	{UnknownAction, 403, ExitDenied, "the catalogue has no such action"},
	{UnknownResource, 404, ExitDenied, "nothing of that name is declared"},
	{UnknownPrincipal, 403, ExitDenied, "no such person, agent or instance"},
	{BadRequest, 400, ExitUsage, "the request is malformed"},
	{NotFound, 404, ExitError, "there is no such thing"},
	{Unauthenticated, 401, ExitError, "no proof of who is calling, or it has ended"},
	{Forbidden, 403, ExitDenied, "this caller may not do that"},
	{NoPolicy, 503, ExitDenied, "no policy is in force"},
	{PolicyError, 503, ExitDenied, "the policy failed"},
	{PolicyResult, 503, ExitDenied, "the policy answered something other than its contract says"},
	{PolicyTimeout, 503, ExitDenied, "the policy took too long"},
	{PolicyDenied, 403, ExitDenied, "a policy rule denies"},
	{PolicyHeld, 409, ExitWaiting, "a policy rule asks for people"},
	{NotLive, 403, ExitDenied, "the task, its agent or a person behind it has ended"},
	{OutOfScope, 403, ExitDenied, "the task's grant does not cover this action on this resource"},
	{RefOutOfScope, 403, ExitDenied, "the task's grant does not cover this ref"},
	{PathOutOfScope, 403, ExitDenied, "the task's grant does not cover a changed path"},
	{OutOfEnvelope, 409, ExitWaiting, "the task's intent does not cover this; a person decides"},
	{OverLimit, 403, ExitDenied, "larger than the grant allows"},
	{OverBudget, 403, ExitDenied, "the task's budget is used up"},
	{CrossesBoundary, 403, ExitDenied, "it would cross a zone or a declared boundary"},
	{Separation, 403, ExitDenied, "whoever caused it may not also do it"},
	{PathProtected, 409, ExitWaiting, "a changed path runs by itself or is protected; a person decides"},
	{EffectHeld, 409, ExitWaiting, "what it sets off needs a person"},
	{ImpactHeld, 409, ExitWaiting, "a privileged action needs a person"},
	{ControlWidens, 409, ExitWaiting, "a change that widens authority needs a second administrator"},
	{NoApprover, 403, ExitDenied, "nobody who may approve it exists"},
	{NotEligible, 403, ExitDenied, "this person may not vote on this request"},
	{StepUpWanted, 401, ExitDenied, "this needs another, or a newer, sign-in of the same person"},
	{BadVote, 400, ExitError, "the vote's statement or signature does not fit the request"},
	{TooManyHolds, 403, ExitDenied, "the task has as many open holds as it may"},
	{TooLargeToJudge, 413, ExitDenied, "too large to be looked at whole, so it is denied"},
	{TooLarge, 413, ExitDenied, "larger than the limit"},
	{UnseenObject, 403, ExitDenied, "it names content that is neither in the push nor in an observed branch"},
	{BadObject, 403, ExitDenied, "an object is malformed or misleading"},
	{BadPack, 400, ExitDenied, "the pack is malformed"},
	{BadRef, 403, ExitDenied, "the ref name is refused"},
	{LFSUnsupported, 403, ExitDenied, "Git LFS is not passed through"},
	{Stale, 409, ExitDenied, "what was approved is no longer what would happen"},
	{Expired, 409, ExitDenied, "its time is over"},
	{Vetoed, 409, ExitDenied, "a person who may approve it refused it"},
	{Superseded, 409, ExitDenied, "a later request took its place"},
	{Dropped, 409, ExitDenied, "its task ended"},
	{AlreadyUsed, 409, ExitDenied, "it was good once, and was used"},
	{Conflict, 409, ExitError, "it does not fit what is in force now"},
	{MediaType, 415, ExitUsage, "the body is of another type than is read here"},
	{KeyReused, 422, ExitError, "the Idempotency-Key belongs to another request"},
	{KeyInUse, 409, ExitError, "a request with this Idempotency-Key is still being done; ask again"},
	{ClockInDoubt, 503, ExitError, "the clock jumped; an administrator must confirm it"},
	{LedgerDown, 503, ExitError, "the log cannot be written, so nothing is allowed"},
	{Overload, 503, ExitError, "too many requests wait"},
	{Draining, 503, ExitError, "the server is about to stop and begins nothing new; try again later"},
	{UpstreamDown, 502, ExitError, "the upstream does not answer as it should"},
	{NoSpace, 507, ExitError, "no space is left for new work"},
	{EvidenceMissing, 403, ExitDenied, "what the environment requires of it is not there"},
	{RollbackUnknown, 403, ExitDenied, "no such release was good in this environment"},
	{ReviewMissing, 403, ExitDenied, "the reviews that a merge needs are not there"},
	{Contained, 403, ExitDenied, "an administrator contains the upstream; nothing is done there until one lifts that"},
	{ToolDrift, 409, ExitWaiting, "the server now says something else of this tool than was admitted; a person looks at the difference"},
	{HoldBudget, 429, ExitDenied, "the people who decide on it were asked as often as they may be"},
	{GlassOverdue, 403, ExitDenied, "an earlier break-glass has not been reviewed in time"},
	{PlanInexact, 403, ExitDenied, "a plan names by digest what reaches production"},
	{NotTried, 409, ExitDenied, "the change was not tried on the past as the declarations want it"},
	{ToolMisjudged, 403, ExitDenied, "what a gateway says of a tool is not what is declared of it"},
	{Internal, 500, ExitError, "a fault of Remit's own; nothing was allowed"},
}

// Codes is the registry, in the order in which it is documented.
func Codes() []CodeInfo { return append([]CodeInfo(nil), codes...) }

// Info finds c in the registry; what is not in it counts as Internal.
func (c Code) Info() CodeInfo {
	internal := CodeInfo{}
	for _, i := range codes {
		if i.Code == c {
			return i
		}
		if i.Code == Internal {
			internal = i
		}
	}
	return internal
}

// Error is every error that reaches a user: a stable code and one sentence that says what is wrong, where, and what
// would be right.
type Error struct {
	Code     Code
	Sentence string
	Err      error // cause, for logs
}

// Errorf makes an Error; %w wraps a cause.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	cause, _ := err.(interface{ Unwrap() error })
	e := &Error{Code: c, Sentence: err.Error()}
	if cause != nil {
		e.Err = cause.Unwrap()
	}
	return e
}

func (e *Error) Error() string { return e.Sentence + " [" + string(e.Code) + "]" }
func (e *Error) Unwrap() error { return e.Err }
