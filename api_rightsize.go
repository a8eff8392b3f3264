package remit

import "time"

// Rightsizing is what agents may do against what they did: the smallest declarations that would have covered the use
// since a time.
type Rightsizing struct {
	Since  time.Time  `json:"since"`
	From   EntryIndex `json:"from"` // of the log that was read for it
	Size   EntryIndex `json:"size"`
	Agents []AgentFit `json:"agents"` // by name
	// Older is the entry down to which what came before was read as well; OlderAt is its time. Whole: all of it was.
	Older   EntryIndex `json:"older"`
	OlderAt *time.Time `json:"older_at,omitempty"`
	Whole   bool       `json:"whole"`
}

// AgentFit is one agent.
type AgentFit struct {
	Agent        string           `json:"agent"`
	Owner        string           `json:"owner"`
	Function     Function         `json:"function"`
	Allowed      int              `json:"allowed"` // requests that were let through
	First        EntryIndex       `json:"first,omitempty"`
	Last         EntryIndex       `json:"last,omitempty"`
	Entitlements []EntitlementFit `json:"entitlements"`
	MayRequest   []FunctionFit    `json:"may_request,omitempty"`
	Requesters   []RequesterFit   `json:"requesters,omitempty"`
	Jobs         []JobFit         `json:"jobs,omitempty"`
	Expires      ExpiryFit        `json:"expires"`
	Tasks        TaskFit          `json:"tasks"`

	Waited  []UseLine `json:"waited,omitempty"`  // what was denied or held since then
	Outside []UseLine `json:"outside,omitempty"` // what was done under entitlements that it has no more
	Refused []UseLine `json:"refused,omitempty"` // what was done before, is declared, and would be refused
	Cut     int       `json:"cut,omitempty"`     // lines that are left out of these, beyond 500 of each
	Unread  int       `json:"unread,omitempty"`  // pushes of which the paths were erased: they could have been any
}

// Changed tells whether anything that is declared of the agent would be taken away. An end is only proposed.
func (a AgentFit) Changed() bool {
	for _, e := range a.Entitlements {
		if e.Change != FitKeep {
			return true
		}
	}
	for _, f := range a.MayRequest {
		if f.Change != FitKeep {
			return true
		}
	}
	for _, r := range a.Requesters {
		if r.Change != FitKeep {
			return true
		}
	}
	for _, j := range a.Jobs {
		if j.Change != FitKeep {
			return true
		}
	}
	return false
}

// Young tells whether the agent has nothing that it could have used for all of the time that was looked at.
func (a AgentFit) Young(since time.Time) bool {
	for _, e := range a.Entitlements {
		if !e.Young(since) {
			return false
		}
	}
	return len(a.Entitlements) > 0
}

// What becomes of an entitlement.
const (
	FitKeep   = "keep"
	FitShrink = "shrink"
	FitRemove = "remove"
)

// EntitlementFit is a declared entitlement, and what would stand in its place.
type EntitlementFit struct {
	Declared Scope     `json:"declared"`
	Proposed []Scope   `json:"proposed"` // none: nothing of it was used
	Change   string    `json:"change"`   // keep | shrink | remove
	Uses     []UseLine `json:"uses"`
	// Granted is the entry since which the agent has it, as it is.
	Granted   EntryIndex `json:"granted,omitempty"`
	GrantedAt *time.Time `json:"granted_at,omitempty"`
}

// Young tells whether the agent has it for less than the time that was looked at: then that it was not used says little.
func (e EntitlementFit) Young(since time.Time) bool {
	return e.GrantedAt != nil && e.GrantedAt.After(since)
}

// FunctionFit is a function of which the agent may request work.
type FunctionFit struct {
	Function Function `json:"function"`
	Change   string   `json:"change"` // keep | remove
	UseLine
}

// RequesterFit is a group whose members may request tasks of the agent.
type RequesterFit struct {
	Group  string `json:"group"`
	Change string `json:"change"` // keep | remove
	UseLine
}

// JobFit is a CI job that is the agent.
type JobFit struct {
	Job    Job    `json:"job"`
	Change string `json:"change"` // keep | remove
	UseLine
}

// ExpiryFit is the day on which the agent ends, and an earlier one where that is none or far ahead. It refuses nothing that
// was done.
type ExpiryFit struct {
	Declared string `json:"declared,omitempty"` // 2027-01-31
	Proposed string `json:"proposed,omitempty"` // the same, or earlier
	Change   string `json:"change"`             // keep | shrink
}

// UseLine is one way of using an entitlement: how often, and in which entries of the log first and last.
type UseLine struct {
	Action   Action     `json:"action,omitempty"`
	Resource Resource   `json:"resource,omitempty"`
	Ref      string     `json:"ref,omitempty"` // {task} stands for the task whose own branch it is
	Verdict  string     `json:"verdict,omitempty"`
	Code     Code       `json:"code,omitempty"`
	Count    int        `json:"count"`
	First    EntryIndex `json:"first"`
	Last     EntryIndex `json:"last"`
	At       *time.Time `json:"at,omitempty"` // of the last
}

// TaskFit is what the tasks that began since then took at most, rounded up: what the next one would be asked for with.
type TaskFit struct {
	Tasks    int           `json:"tasks"`
	For      time.Duration `json:"for"` // from its beginning to its last request, nanoseconds
	Budget   Budget        `json:"budget"`
	Envelope Envelope      `json:"envelope"`
	First    EntryIndex    `json:"first,omitempty"`
	Last     EntryIndex    `json:"last,omitempty"` // the tasks that began first and last
}
