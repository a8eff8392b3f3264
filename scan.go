package remit

import "time"

// ScanReport is what a read-only look at an upstream found of authority that lies outside Remit. Remit changes nothing
// there. It has names of people at the upstream, so it is a payload and never part of a leaf.
type ScanReport struct {
	Upstream string    `json:"upstream"`
	Kind     string    `json:"kind"` // what was looked at: gitea | github | kubernetes | registry
	At       time.Time `json:"at"`   // when the look began
	// Seen is what was looked at to its end; Unseen is what was not, and why. Whatever is in neither was not asked for.
	Seen     []ScanSeen    `json:"seen"`
	Unseen   []ScanGap     `json:"unseen"`
	Findings []ScanFinding `json:"findings"` // the worst first
	Reach    []ScanReach   `json:"reach"`
}

// ScanSeen counts one kind of thing that was read completely, in one place.
type ScanSeen struct {
	What  string `json:"what"` // deploy keys of acme/payments
	Count int    `json:"count"`
}

// ScanGap is something that could not be seen, or not completely. No finding about it means nothing.
type ScanGap struct {
	What string `json:"what"`           // as in ScanSeen
	Why  string `json:"why"`            // a sentence: what the upstream answered, and what would be needed
	Code string `json:"code,omitempty"` // forbidden | missing | limit | unreachable | malformed | unsupported
}

// ScanLevel is how bad a finding is, in the words of SARIF.
type ScanLevel string

const (
	ScanError   ScanLevel = "error"   // authority that goes round Remit, now
	ScanWarning ScanLevel = "warning" // authority that may, or that nobody looks after
	ScanNote    ScanLevel = "note"    // worth knowing
)

// ScanFinding is one thing that should not be, or that somebody should answer for.
type ScanFinding struct {
	Rule    string    `json:"rule"` // id of the rule that found it: unowned-credential
	Level   ScanLevel `json:"level"`
	Subject string    `json:"subject"` // what it is about, as a name that stays: gitea:deploy_key/acme/payments/3
	Where   string    `json:"where"`   // repository, organisation, namespace or host in which it lies
	Text    string    `json:"text"`    // one sentence for people
	Help    string    `json:"help"`    // what to do about it
	// Created and LastUse are what the upstream says; nil: it does not. Never is set if it says that there was no use.
	Created *time.Time `json:"created,omitempty"`
	LastUse *time.Time `json:"last_use,omitempty"`
	Never   bool       `json:"never_used,omitempty"`
	AgeDays *int       `json:"age_days,omitempty"` // whole days from Created to the look
}

// ScanReach is one edge of authority outside Remit: who can do what by which credential, in the words of the catalogue,
// so that it can be laid beside what Remit grants.
type ScanReach struct {
	Holder     string    `json:"holder"`     // person:NAME or agent:NAME where one answers for it, else the upstream's own name: gitea:user/bob
	Credential string    `json:"credential"` // as Subject of a finding
	Kind       string    `json:"kind"`       // deploy-key | account | token | app | ci-secret | hook | runner | service-account | binding | anonymous …
	Actions    []Action  `json:"actions"`
	Resources  []Pattern `json:"resources"`
	Except     []Pattern `json:"except,omitempty"` // of Resources, what it does not reach; refs are refs/heads/main
	Impact     Impact    `json:"impact"`           // the worst of Actions
	Note       string    `json:"note,omitempty"`   // what bounds it, or why it is not certain
}

// Complete tells whether everything that was asked for was seen. Without it no report is clean.
func (r ScanReport) Complete() bool { return len(r.Unseen) == 0 }

// Worst is the worst level among the findings; empty if there are none.
func (r ScanReport) Worst() ScanLevel {
	worst := ScanLevel("")
	for _, f := range r.Findings {
		if f.Level.Rank() > worst.Rank() {
			worst = f.Level
		}
	}
	return worst
}

// Rank orders levels: 3 is error, 2 warning, 1 note, 0 none of them.
func (l ScanLevel) Rank() int {
	switch l {
	case ScanError:
		return 3
	case ScanWarning:
		return 2
	case ScanNote:
		return 1
	}
	return 0
}

// ScanRequest asks that an upstream is looked at.
type ScanRequest struct{}

// ScanView is a report with the entry that records it.
type ScanView struct {
	Entry  EntryIndex `json:"entry"`
	Stale  bool       `json:"stale,omitempty"` // the upstream is declared otherwise since
	Report ScanReport `json:"report"`
}
