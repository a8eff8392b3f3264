package remit

// What reviews leave in the log. All times are Unix nanoseconds, all spans nanoseconds.

type (
	// CampaignDeclared adds or changes a campaign, with its defaults filled in.
	CampaignDeclared struct {
		Name      string     `cbor:"1,keyasint"`
		Agents    []string   `cbor:"2,keyasint,omitempty"`
		Functions []Function `cbor:"3,keyasint,omitempty"`
		Owners    []ID       `cbor:"4,keyasint,omitempty"`
		Cadence   string     `cbor:"5,keyasint"`
		Due       int64      `cbor:"6,keyasint"`
		Reviewers []string   `cbor:"7,keyasint,omitempty"`
		Fallback  string     `cbor:"8,keyasint"`
		Canaries  int        `cbor:"9,keyasint,omitempty"`
		By        ID         `cbor:"10,keyasint,omitempty"`
	}
	// ReviewsDeclared puts reviews in force, with their defaults filled in.
	ReviewsDeclared struct {
		SuspendAfter int64    `cbor:"1,keyasint,omitempty"` // 0: never
		RetireAfter  int64    `cbor:"2,keyasint,omitempty"` // 0: never
		UnusedAfter  int64    `cbor:"3,keyasint"`
		Due          int64    `cbor:"4,keyasint"`
		Fallback     string   `cbor:"5,keyasint"`
		Micro        []string `cbor:"6,keyasint,omitempty"` // sorted
		By           ID       `cbor:"7,keyasint,omitempty"`
	}
	// CampaignOpened begins a run of a campaign. Its items follow, agent by agent, in entries of their own.
	CampaignOpened struct {
		ID       ID     `cbor:"1,keyasint"` // C-ENTRY
		Campaign string `cbor:"2,keyasint"`
		Slot     int64  `cbor:"3,keyasint"` // the time of its cadence; later ones that have passed as well are one run with it
		Deadline int64  `cbor:"4,keyasint"`
		Agents   int    `cbor:"5,keyasint"`           // in its scope
		By       ID     `cbor:"6,keyasint,omitempty"` // who opened it before its time
	}
	// CampaignClosed ends a run: every item of it has ended.
	CampaignClosed struct {
		ID     ID       `cbor:"1,keyasint"`
		Counts RunCount `cbor:"2,keyasint"`
	}
	// RunCount is what came of the items of a run. Canaries are in none of the other figures.
	RunCount struct {
		Items   int `json:"items" cbor:"1,keyasint"`
		Kept    int `json:"kept" cbor:"2,keyasint"`
		Shrunk  int `json:"shrunk" cbor:"3,keyasint"`
		Removed int `json:"removed" cbor:"4,keyasint"`
		Lapsed  int `json:"lapsed" cbor:"5,keyasint"`
		Void    int `json:"void" cbor:"6,keyasint"`
		// Canaries that were answered, and those of them that somebody kept; Unseen were answered by nobody.
		Canaries int `json:"canaries" cbor:"7,keyasint"`
		Fooled   int `json:"fooled" cbor:"8,keyasint"`
		Unseen   int `json:"unseen" cbor:"9,keyasint"`
	}
	// ReviewOpened is an item: one entitlement of an agent, or one function of which it may request work, with what the
	// log says of its use at this entry. What nobody may keep is like any other here (canaries).
	ReviewOpened struct {
		ID       ID       `cbor:"1,keyasint"`           // R-ENTRY
		Run      ID       `cbor:"2,keyasint,omitempty"` // of a campaign
		Cause    string   `cbor:"3,keyasint"`
		Agent    string   `cbor:"4,keyasint"`
		Scope    Scope    `cbor:"5,keyasint,omitzero"`  // the entitlement
		Function Function `cbor:"6,keyasint,omitempty"` // or the function
		Deadline int64    `cbor:"7,keyasint"`
		Evidence Evidence `cbor:"8,keyasint"`
		Advice   Answer   `cbor:"9,keyasint"` // keep, shrink or remove, from Evidence alone
		Shown    Digest   `cbor:"10,keyasint"`
	}
	// Evidence is how an entitlement was used since the agent has it. A use is a redemption of a permit, or an allowed
	// call of a tool in the agent's own process. It counts for every entitlement that covers it.
	Evidence struct {
		Granted EntryIndex `json:"granted" cbor:"1,keyasint"`                      // the entry since which the agent has it
		By      ID         `json:"by,omitempty" cbor:"2,keyasint,omitempty"`       // who put it there
		Alone   bool       `json:"alone,omitempty" cbor:"3,keyasint,omitempty"`    // and nobody had to agree
		Tasks   int        `json:"tasks" cbor:"4,keyasint"`                        // whose grants rest on it
		Uses    int        `json:"uses" cbor:"5,keyasint"`                         // exactly
		Last    EntryIndex `json:"last,omitempty" cbor:"6,keyasint,omitempty"`     // of the newest use
		LastAt  int64      `json:"last_at,omitempty" cbor:"7,keyasint,omitempty"`  // of the newest use
		Kept    EntryIndex `json:"kept,omitempty" cbor:"8,keyasint,omitempty"`     // the last answer that kept it
		Actions []Action   `json:"actions,omitempty" cbor:"9,keyasint,omitempty"`  // of it, that were used; sorted
		Targets int        `json:"targets,omitempty" cbor:"10,keyasint,omitempty"` // different resources that it was used on
	}
	// ReviewReminded says whose time is running out. Last is the reminder without which nothing is removed; from it on,
	// the fallback group may answer as well.
	ReviewReminded struct {
		Items []ID `cbor:"1,keyasint"`
		Last  bool `cbor:"2,keyasint,omitempty"`
	}
	// ReviewAnswered is somebody's answer.
	ReviewAnswered struct {
		Item      ID        `cbor:"1,keyasint"`
		By        ID        `cbor:"2,keyasint"`
		Answer    Answer    `cbor:"3,keyasint"`
		Key       Digest    `cbor:"4,keyasint"` // SHA-256 of the public key
		Assurance Assurance `cbor:"5,keyasint"`
		Statement Digest    `cbor:"6,keyasint"`           // of the bytes as signed
		Canary    bool      `cbor:"7,keyasint,omitempty"` // the agent never had this: there was nothing to keep
	}
	// ReviewRemoved takes an entitlement away, and is the receipt of that. By is who said so; nobody, where nobody
	// certified it. What rests on it ends.
	ReviewRemoved struct {
		Item   ID      `cbor:"1,keyasint"`
		Agent  string  `cbor:"2,keyasint"`
		By     ID      `cbor:"3,keyasint,omitempty"`
		Left   []Scope `cbor:"4,keyasint,omitempty"` // of a shrink: what the agent has instead
		Lapsed bool    `cbor:"5,keyasint,omitempty"`
	}
	// ReviewVoid ends an item of which there is nothing to take away.
	ReviewVoid struct {
		Item   ID   `cbor:"1,keyasint"`
		Canary bool `cbor:"2,keyasint,omitempty"`
	}
	// ReviewRegranted gives back what an item took away, as it was.
	ReviewRegranted struct {
		Item   ID     `cbor:"1,keyasint"`
		Agent  string `cbor:"2,keyasint"`
		By     ID     `cbor:"3,keyasint"`
		Access ID     `cbor:"4,keyasint,omitempty"` // the approval that it needed
	}
)

// Kind is part of Event.
func (*CampaignDeclared) Kind() string { return "campaign.declared" }

// Kind is part of Event.
func (*ReviewsDeclared) Kind() string { return "reviews.declared" }

// Kind is part of Event.
func (*CampaignOpened) Kind() string { return "campaign.opened" }

// Kind is part of Event.
func (*CampaignClosed) Kind() string { return "campaign.closed" }

// Kind is part of Event.
func (*ReviewOpened) Kind() string { return "review.opened" }

// Kind is part of Event.
func (*ReviewReminded) Kind() string { return "review.reminded" }

// Kind is part of Event.
func (*ReviewAnswered) Kind() string { return "review.answered" }

// Kind is part of Event.
func (*ReviewRemoved) Kind() string { return "review.removed" }

// Kind is part of Event.
func (*ReviewVoid) Kind() string { return "review.void" }

// Kind is part of Event.
func (*ReviewRegranted) Kind() string { return "review.regranted" }
