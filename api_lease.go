package remit

import "time"

// LeaseList is the upstream credentials that Remit has made, and what they cost if the upstreams fail.
type LeaseList struct {
	Leases   []LeaseView `json:"leases"`   // newest first, at most 500
	Debt     int         `json:"debt"`     // leases whose end is overdue
	Exposure int         `json:"exposure"` // leases that only their own end ends, and that somebody may still have
	// Until is when the last exposure ends by itself.
	Until *time.Time `json:"until,omitempty"`
	// Lost is until when credentials may live that were made after the backup from which the log went on. They count as one
	// exposure: nobody knows how many there are.
	Lost      *time.Time `json:"lost,omitempty"`
	Contained []string   `json:"contained,omitempty"` // upstreams at which nothing is made or done
}

// LeaseView is one upstream credential as people see it.
type LeaseView struct {
	ID         ID          `json:"id"`
	Status     LeaseStatus `json:"status"`
	Upstream   string      `json:"upstream"`
	Zone       Zone        `json:"zone"`
	Target     Resource    `json:"target"`
	Write      bool        `json:"write,omitempty"`
	Task       ID          `json:"task"`
	Agent      string      `json:"agent"`
	Attempt    ID          `json:"attempt"` // that it was made for
	Opened     time.Time   `json:"opened"`
	NotAfter   time.Time   `json:"not_after"` // asked for
	Revocation Revocation  `json:"revocation"`
	Bound      int64       `json:"bound,omitempty"` // of a bounded revocation, nanoseconds
	Survive    bool        `json:"survive,omitempty"`
	Code       Code        `json:"code,omitempty"` // why it ended, or must end
	Tries      int         `json:"tries,omitempty"`
	// Ending is when its end began; Due is since when it is in debt; Until is when an exposure ends by itself.
	Ending *time.Time `json:"ending,omitempty"`
	Due    *time.Time `json:"due,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Ended  *time.Time `json:"ended,omitempty"`
	Entry  EntryIndex `json:"entry"`          // that wrote it down, before anything existed upstream
	Last   EntryIndex `json:"last,omitempty"` // of its end; its receipt is the payload of this entry
}

// LeaseReceipt says how a lease ended. It is the payload to which the entry of the end commits, so that whoever has the
// log's proof of that entry has the log's signature on the receipt.
type LeaseReceipt struct {
	Lease    ID          `json:"lease"`
	Name     string      `json:"name"` // of what was made for it upstream
	Upstream string      `json:"upstream"`
	Target   Resource    `json:"target"`
	Status   LeaseStatus `json:"status"`        // revoked or expired
	Why      Code        `json:"why,omitempty"` // why it had to end
	Asked    time.Time   `json:"asked"`         // when Remit first asked for its end
	How      string      `json:"how"`           // revoke: the upstream was told to; expiry: its own end ended it
	Dead     time.Time   `json:"dead"`          // when it was seen dead, or its own end and the skew had passed
	Probe    string      `json:"probe"`         // by what: credential, as itself; name, in Remit's own name; none, expired
	Tries    int         `json:"tries"`         // until then
}

// What a receipt says in How and Probe.
const (
	LeaseByRevoke     = "revoke"
	LeaseByExpiry     = "expiry"
	ProbeAsCredential = "credential"
	ProbeInOwnName    = "name"
	ProbeNone         = "none"
)

// LeaseProof is a receipt with what ties it to the log: commitment = SHA-256(salt ‖ receipt), in the leaf of Entry.
type LeaseProof struct {
	Receipt    LeaseReceipt `json:"receipt"`
	Body       []byte       `json:"body"` // the receipt as it was committed to
	Commitment Digest       `json:"commitment"`
	Entry      EntryIndex   `json:"entry"`
}

// AbandonRequest gives a lease up that cannot be seen dead. It holds for a second administrator.
type AbandonRequest struct {
	Reason string `json:"reason"` // at most 1 KiB
}

// ContainRequest contains an upstream, or lifts that.
type ContainRequest struct {
	Lift bool `json:"lift,omitempty"`
}

// ContainAnswer says what containing an upstream came to so far.
type ContainAnswer struct {
	Upstream string `json:"upstream"`
	Leases   []ID   `json:"leases,omitempty"` // whose end has begun; they are gone once a probe saw them dead
	// Rest is why things that Remit made there and knows no lease of could not be ended all at once; empty: they were.
	Rest string `json:"rest,omitempty"`
}
