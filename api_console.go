package remit

import "time"

// Inbox is a page of the access requests: what a list shows of each, so that ten thousand of them cost no more than one page.
type Inbox struct {
	Rows    []InboxRow `json:"rows"` // newest first, at most 50
	Waiting int        `json:"waiting"`
	// Reviews is what the caller is asked besides; nothing where that is nothing.
	Reviews *ReviewsWaiting `json:"reviews,omitempty"`
	// Before is the cursor of the next page; 0: there is none.
	Before EntryIndex `json:"before,omitempty"`
	Size   EntryIndex `json:"size"` // of the log that the page was made of: what comes later is followed from here
}

// ReviewsWaiting are the items of reviews that wait for one person's answer.
type ReviewsWaiting struct {
	Items int       `json:"items"`
	Ends  time.Time `json:"ends"` // the first of them
}

// InboxRow is one access request in a list. The card has the rest.
type InboxRow struct {
	ID        ID           `json:"id"`
	Status    AccessStatus `json:"status"`
	Why       Code         `json:"why,omitempty"` // of void
	Outcome   Outcome      `json:"outcome,omitempty"`
	Zone      Zone         `json:"zone"`
	Steps     []Step       `json:"steps"`
	Refs      []string     `json:"refs,omitempty"`
	Task      ID           `json:"task,omitempty"`
	Agent     string       `json:"agent,omitempty"`
	Requester string       `json:"requester,omitempty"`
	By        string       `json:"by,omitempty"`     // who asked, for control steps
	Intent    string       `json:"intent,omitempty"` // the words of whoever requested the task: a claim, not a fact
	Needs     []Need       `json:"needs"`
	Approvals int          `json:"approvals"` // that were cast
	YouMay    bool         `json:"you_may"`
	WhyNot    string       `json:"why_not,omitempty"`
	Opened    time.Time    `json:"opened"`
	NotAfter  time.Time    `json:"not_after"`
	Entry     EntryIndex   `json:"entry"`
}

// LogPage is what a search of the log found, newest first, at most 100 entries.
type LogPage struct {
	Entries []LogEntry `json:"entries"`
	// Before is where the search goes on; 0: it is through. A search reads so many entries at a time and no more.
	Before EntryIndex `json:"before,omitempty"`
	Size   EntryIndex `json:"size"`
}

// AgentUse sets what an agent may do against what it did.
type AgentUse struct {
	Entitlements []ScopeUse `json:"entitlements"` // in the order of the agent's
	Denied       int        `json:"denied"`       // requests
	// From is the first entry that was counted: long logs are read from there.
	From EntryIndex `json:"from"`
	Size EntryIndex `json:"size"`
}

// ScopeUse is one entitlement, and the steps that it let through or before people.
type ScopeUse struct {
	Scope   Scope      `json:"scope"`
	Allowed int        `json:"allowed"`
	Held    int        `json:"held"`
	Last    EntryIndex `json:"last,omitempty"` // the newest decision that it was used in
	At      *time.Time `json:"at,omitempty"`   // of it
	// Unused names the actions of the scope that no step took.
	Unused []Action `json:"unused,omitempty"`
}
