package remit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// CampaignView is a declared campaign with its runs, the newest first.
type CampaignView struct {
	Name      string     `json:"name"`
	Agents    []string   `json:"agents,omitempty"`
	Functions []Function `json:"functions,omitempty"`
	Owners    []string   `json:"owners,omitempty"` // names of people
	Cadence   string     `json:"cadence"`          // cron, UTC
	Due       string     `json:"due"`              // how long people have
	Reviewers []string   `json:"reviewers,omitempty"`
	Fallback  string     `json:"fallback"`
	Next      *time.Time `json:"next,omitempty"` // when it opens again; nil: it is not declared any more
	Runs      []RunView  `json:"runs"`
}

// RunView is one run of a campaign, and its report. Until it is closed, Counts are those so far, and say nothing of canaries.
type RunView struct {
	ID       ID         `json:"id"`
	Campaign string     `json:"campaign"`
	Entry    EntryIndex `json:"entry"`
	Opened   time.Time  `json:"opened"`
	Deadline time.Time  `json:"deadline"`
	Closed   *time.Time `json:"closed,omitempty"`
	Agents   int        `json:"agents"`            // in its scope
	Opening  int        `json:"opening,omitempty"` // of those whose items are still to be opened
	Open     int        `json:"open"`              // items that wait for an answer
	Counts   RunCount   `json:"counts"`
	Looked   *int       `json:"looked,omitempty"` // per cent of the canaries that were answered and not kept; nil: it had none, or is not closed
	// Items are in the answer about one run only: those that ended, with the entry that is the receipt.
	Items []ItemView `json:"items,omitempty"`
}

// ItemView is an item of a review, with what the log says of its use. What it is about is an entitlement, or a function
// of which the agent may request work.
type ItemView struct {
	ID          ID          `json:"id"`
	Status      ItemStatus  `json:"status"`
	Cause       string      `json:"cause"`
	Run         ID          `json:"run,omitempty"`
	Campaign    string      `json:"campaign,omitempty"`
	Agent       string      `json:"agent"`
	Function    Function    `json:"function"` // of the agent
	Owner       string      `json:"owner"`    // of the agent now
	AgentStatus AgentStatus `json:"agent_status"`
	Entitlement *Scope      `json:"entitlement,omitempty"`
	MayRequest  Function    `json:"may_request,omitempty"`
	Granted     EntryIndex  `json:"granted"` // since when the agent has it
	GrantedBy   string      `json:"granted_by,omitempty"`
	Alone       bool        `json:"alone,omitempty"` // and nobody had to agree
	Tasks       int         `json:"tasks"`           // whose grants rested on it
	Uses        int         `json:"uses"`            // since it was granted, exactly
	LastEntry   EntryIndex  `json:"last_entry,omitempty"`
	LastUse     *time.Time  `json:"last_use,omitempty"`
	KeptBefore  EntryIndex  `json:"kept_before,omitempty"` // the last answer that kept it
	Used        []Action    `json:"used,omitempty"`        // of its actions
	Unused      []Action    `json:"unused,omitempty"`
	Targets     int         `json:"targets,omitempty"` // different resources that it was used on
	Reach       []Resource  `json:"reach,omitempty"`   // declared resources that it covers, at most MaxReach
	MoreReach   int         `json:"more_reach,omitempty"`
	Advice      Answer      `json:"advice"`
	Why         string      `json:"why"`              // of the advice
	Leaves      []Scope     `json:"leaves,omitempty"` // what a shrink would leave now, or has left
	Opened      time.Time   `json:"opened"`
	Entry       EntryIndex  `json:"entry"`
	Deadline    time.Time   `json:"deadline"`
	Ends        time.Time   `json:"ends"`      // when silence decides: the deadline, or later where the last reminder went out late
	Reviewers   []string    `json:"reviewers"` // who may answer now
	// YouMay: the caller may keep, shrink or remove it. YouMayRemove: they may take it away, which more people may.
	YouMay       bool          `json:"you_may"`
	YouMayRemove bool          `json:"you_may_remove,omitempty"`
	WhyNot       string        `json:"why_not,omitempty"` // of YouMay
	Shown        Digest        `json:"shown"`             // of Fixed: an answer signs it
	Fixed        string        `json:"fixed"`             // FixedItem.Text
	Answered     *AnsweredItem `json:"answered,omitempty"`
	Ended        EntryIndex    `json:"ended,omitempty"` // the receipt
	// RegrantUntil is until when what was removed can be given back in one act; nil: not, or no more.
	RegrantUntil *time.Time `json:"regrant_until,omitempty"`
}

// MaxReach is how many resources of one item are named.
const MaxReach = 12

// AnsweredItem is who answered an item. Canary says that the agent never had this: there was nothing to keep.
type AnsweredItem struct {
	By     string     `json:"by"`
	Answer Answer     `json:"answer"`
	Entry  EntryIndex `json:"entry"`
	Canary bool       `json:"canary,omitempty"`
}

// ReviewList is what waits to be reviewed, those that the caller may answer first, then by deadline.
type ReviewList struct {
	Items []ItemView `json:"items"` // at most 500
	Yours int        `json:"yours"` // that the caller may answer
	Open  int        `json:"open"`  // in all
	Runs  []RunView  `json:"runs"`  // of campaigns that are open
	Size  EntryIndex `json:"size"`  // of the log
}

// CertifyRequest hands in a signed Certification: a signature in ReviewNamespace, or what a passkey signed.
type CertifyRequest struct {
	Statement  []byte     `json:"statement"`
	Signature  []byte     `json:"signature,omitempty"`
	Credential *Assertion `json:"credential,omitempty"`
}

// CertifyAnswer is the items that it answered, as they are now.
type CertifyAnswer struct {
	Items []ItemView `json:"items"`
}

// RegrantAnswer is what came of asking that something is given back, or somebody brought back: in force, or held.
type RegrantAnswer struct {
	Decision Decision `json:"decision"`
}

// FixedItem is what an item shows of the log. ReviewOpened.Shown is the digest of it.
type FixedItem struct {
	Origin string // of the log
	Item   ReviewOpened
}

// Text is f without the digest itself, as JSON in its one encoding.
func (f FixedItem) Text() string {
	f.Item.Shown = Digest{}
	b, err := json.Marshal(f)
	if err != nil {
		panic("remit: an item is texts and numbers: " + err.Error())
	}
	return string(b)
}

// Bound says why what v shows is not what its digest binds, which an answer signs; nil: it is. Origin is that of the log.
func (v ItemView) Bound(origin string) error {
	if d := Hash([]byte("remit review item v1\n"), []byte(v.Fixed)); d != v.Shown {
		return fmt.Errorf("its fixed part has the digest %s, and the server says %s", d, v.Shown)
	}
	var f FixedItem
	if err := DecodeStrict(strings.NewReader(v.Fixed), maxFixed, &f); err != nil {
		return fmt.Errorf("its fixed part cannot be read: %w", err)
	}
	if f.Text() != v.Fixed {
		return errors.New("its fixed part is not in its one encoding")
	}
	e, scope, last := f.Item, Scope{}, int64(0)
	if v.Entitlement != nil {
		scope = *v.Entitlement
	}
	if v.LastUse != nil {
		last = v.LastUse.UnixNano()
	}
	for _, c := range []struct {
		what         string
		shown, fixed any
	}{
		{"log", origin, f.Origin}, {"item", v.ID, e.ID}, {"run", v.Run, e.Run}, {"cause", v.Cause, e.Cause}, {"agent", v.Agent, e.Agent}, {"entitlement", scope, e.Scope}, {"function", v.MayRequest, e.Function},
		{"deadline", v.Deadline.UnixNano(), e.Deadline}, {"advice", v.Advice, e.Advice}, {"entry of its grant", v.Granted, e.Evidence.Granted}, {"tasks", v.Tasks, e.Evidence.Tasks},
		{"uses", v.Uses, e.Evidence.Uses}, {"entry of its last use", v.LastEntry, e.Evidence.Last}, {"last use", last, e.Evidence.LastAt},
		{"actions", v.Used, e.Evidence.Actions}, {"targets", v.Targets, e.Evidence.Targets}, {"sole granter", v.Alone, e.Evidence.Alone}, {"answer before", v.KeptBefore, e.Evidence.Kept},
	} {
		if shown, fixed := fmt.Sprintf("%v", c.shown), fmt.Sprintf("%v", c.fixed); shown != fixed {
			return fmt.Errorf("it shows the %s %.200q and binds %.200q", c.what, shown, fixed)
		}
	}
	return nil
}

// maxFixed bounds the fixed part of an item, in bytes.
const maxFixed = 64 << 10
