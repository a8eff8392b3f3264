package authority

import (
	"time"

	"github.com/remit-dev/remit"
)

// Answers are signed answers to items of reviews. Statement is a remit.Certification; an item that may not be answered so
// refuses all of them.
type Answers struct {
	By        remit.ID
	Statement []byte
	Signature []byte // armored SSHSIG, in remit.ReviewNamespace
	Host      remit.Digest
	Loopback  bool
}

// StepReviews makes true what time alone decides of reviews: campaigns open and close, items open, people are reminded,
// what nobody certified is removed, and agents that nobody uses suspend and retire themselves. It does a part of that at
// once, and is done when it has nothing to say. Remit itself makes it; no route does.
type StepReviews struct {
	// Seed is random, and decides where the canaries of a run stand and what they are. It is in no entry: the command is a
	// payload, to which the entries of the command commit.
	Seed remit.Digest
}

// OpenRun opens a run of a campaign before its time; its owner asks for none. An administrator may.
type OpenRun struct {
	By       remit.ID
	Campaign string
	Seed     remit.Digest
}

// Regrant gives back, as it was, what an item took away at most RegrantFor ago. An administrator or the owner of the agent
// asks for it, and where there is another administrator, it holds for one of them.
type Regrant struct {
	By     remit.ID
	Item   remit.ID
	Access remit.ID // the approval
}

// ReviveAgent brings back an agent that suspended or retired itself. The owner or an administrator brings back a suspended
// one at once. What retired itself at most ReviveFor ago is brought back by an administrator or its owner, and where there is
// another administrator, it holds for one of them.
type ReviveAgent struct {
	By     remit.ID
	Agent  string
	Access remit.ID // the approval
}

func (*Answers) name() string     { return "review.answer" }
func (*StepReviews) name() string { return "review.step" }
func (*OpenRun) name() string     { return "review.open" }
func (*Regrant) name() string     { return "review.regrant" }
func (*ReviveAgent) name() string { return "agent.revive" }

// Campaign is a declared campaign.
type Campaign struct {
	remit.CampaignDeclared
	Changes []Change
	Last    int64    // the newest slot of its cadence that was opened, or when it was declared
	Open    remit.ID `json:",omitempty"` // its run that is open
}

// Settings is what is declared of reviews.
type Settings struct {
	remit.ReviewsDeclared
	Changes []Change
	Since   int64 // when reviews came into force; nobody is idle for longer
}

// Run is one run of a campaign.
type Run struct {
	remit.CampaignOpened
	At      int64
	Entry   remit.EntryIndex
	Pending []string `json:",omitempty"` // agents whose items are still to be opened
	Open    int      // items that have not ended
	Canary  int      `json:",omitempty"` // canaries that were opened
	// Reviewers, Fallback and Canaries are those of the campaign when it was opened.
	Reviewers []string `json:",omitempty"`
	Fallback  string
	Canaries  int            `json:",omitempty"`
	Counts    remit.RunCount // so far
	Closed    int64          `json:",omitempty"`
}

// Item is an item of a review. It is forgotten ItemsKept after its end; the log is not.
type Item struct {
	*remit.ReviewOpened
	Key      string // HoldingKey of what it is about
	At       int64
	Entry    remit.EntryIndex
	Owner    remit.ID // of the agent, when it was opened
	Status   remit.ItemStatus
	Canary   bool             `json:",omitempty"` // nothing of Remit's shows this before the answer
	Half     int64            `json:",omitempty"` // when the first reminder went out
	Last     int64            `json:",omitempty"` // when the last one did; the fallback group may answer from then on
	By       remit.ID         `json:",omitempty"` // who answered
	Answered remit.EntryIndex `json:",omitempty"`
	Ended    remit.EntryIndex `json:",omitempty"` // the entry that ended it: the receipt, where something was removed
	EndedAt  int64            `json:",omitempty"`
	Left     []remit.Scope    `json:",omitempty"` // of a shrink
}

// Holding is one entitlement of an agent, or one function of which it may request work, with how it was used.
type Holding struct {
	Scope     remit.Scope    `json:",omitzero"`
	Function  remit.Function `json:",omitempty"`
	Item      remit.ID       `json:",omitempty"` // the newest item about it
	Granted   remit.EntryIndex
	GrantedAt int64
	By        remit.ID         // who put it there
	Alone     bool             // and nobody had to agree
	Tasks     int              `json:",omitempty"`
	Uses      int              `json:",omitempty"`
	First     remit.EntryIndex `json:",omitempty"` // of its uses
	Last      remit.EntryIndex `json:",omitempty"`
	LastAt    int64            `json:",omitempty"`
	Kept      remit.EntryIndex `json:",omitempty"` // the last answer that kept it
	KeptAt    int64            `json:",omitempty"`
	Used      []remit.Step     `json:",omitempty"` // what it was used for, action and resource; sorted, at most MaxUsed
	More      []remit.Action   `json:",omitempty"` // actions of which not all resources found room in Used; sorted
}

// How long things of reviews last, and how much of them is kept.
const (
	RegrantFor = 30 * 24 * time.Hour // after it was taken away
	ReviveFor  = 30 * 24 * time.Hour // after an agent retired itself
	ItemsKept  = 90 * 24 * time.Hour // after an item has ended
	MaxUsed    = 32                  // uses that a holding knows apart
)
