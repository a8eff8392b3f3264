package notify

import (
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// item is one thing to tell. What is said of it is looked up when it is told.
type item struct {
	Entry  remit.EntryIndex          `json:"entry"`
	What   string                    `json:"what"`
	At     time.Time                 `json:"at"`
	Access remit.ID                  `json:"access,omitempty"`
	Rung   string                    `json:"rung,omitempty"` // the escalation
	To     string                    `json:"to,omitempty"`   // the group that it was escalated to
	Debt   *Debt                     `json:"debt,omitempty"`
	Found  *remit.Found              `json:"found,omitempty"`
	Opened *remit.BreakGlassOpened   `json:"opened,omitempty"`
	Looked *remit.BreakGlassReviewed `json:"looked,omitempty"`
	Glass  *Glass                    `json:"glass,omitempty"` // its review is due or overdue, as rung says
	// of reviews of what agents may do
	Run      *remit.CampaignOpened `json:"run,omitempty"`
	Review   *remit.ReviewOpened   `json:"review,omitempty"`
	Reminded *remit.ReviewReminded `json:"reminded,omitempty"`
	Removed  *remit.ReviewRemoved  `json:"removed,omitempty"`
	Idle     *remit.AgentChanged   `json:"idle,omitempty"`
	// of what goes to one person: who, and the items that they may answer
	Person string     `json:"person,omitempty"`
	Items  []remit.ID `json:"items,omitempty"`
	// of what has to be tried again
	Tries int       `json:"tries,omitempty"`
	Since uint64    `json:"since,omitempty"` // messages that the channel had handed over when it was first tried
	Due   time.Time `json:"due,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// itemOf is what an entry is worth telling as.
func itemOf(e Entry) (item, bool) {
	it := item{Entry: e.Index, At: e.At}
	switch x := e.Event.(type) {
	case *remit.AccessOpened:
		it.What, it.Access = remit.TellOpened, x.ID
	case *remit.AccessMoved:
		it.Access = x.Access
		switch {
		case x.To == remit.AccessOpen:
			it.What = remit.TellOpened // what the policy asks for has changed: people decide again
		case x.To == remit.AccessMet && x.Needs == nil:
			it.What = remit.TellMet
		case x.To == remit.AccessVoid && x.Why == remit.Vetoed:
			it.What = remit.TellDenied
		case x.To == remit.AccessVoid && x.Why == remit.Expired:
			it.What = remit.TellExpired
		case x.To == remit.AccessVoid:
			it.What = remit.TellVoid
		default:
			return it, false
		}
	case *remit.Found:
		it.What, it.Found = remit.TellFinding, x
	case *remit.BreakGlassOpened:
		it.What, it.Opened = remit.TellGlass, x
	case *remit.BreakGlassReviewed:
		it.What, it.Looked = remit.TellGlass, x
	default:
		return reviewItem(it, x)
	}
	return it, true
}

// id names the message of it in a channel, the same whenever it is sent: receivers drop what they have. Webhook ids have
// no full stop (Standard Webhooks, "signature scheme"), which an organisation may have.
func (it item) id(org remit.Org, channel string) string {
	id := strings.ReplaceAll(string(org), ".", "_") + ":" + entry(it.Entry) + ":" + channel
	switch it.What {
	case remit.TellReminder:
		id += ":reminder"
	case remit.TellEscalated:
		id += ":escalated:" + it.Rung
	case remit.TellDebt:
		id += ":debt"
	case remit.TellGlass:
		if it.Rung != "" {
			id += ":" + it.Rung
		}
	}
	if it.Person != "" {
		id += ":" + it.Person // a name has no full stop
	}
	return id
}

// key is what a channel remembers of what time alone made worth telling, so that it is told once.
func (it item) key() string {
	k := entry(it.Entry) + " " + it.What + " " + it.Rung
	if it.Person != "" {
		k += " to " + it.Person
	}
	return k
}
