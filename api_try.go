package remit

import "time"

// TryRequest judges the requests since a time again under another bundle, under other declarations, or both.
type TryRequest struct {
	Files []PolicyFile `json:"files,omitempty"` // of the bundle; empty: that of the declarations or, without one, those that were in force
	Since time.Time    `json:"since"`
	// Declarations, if given, are supposed to have been in force.
	Declarations *Declarations `json:"declarations,omitempty"`
	Access       ID            `json:"access,omitempty"`  // a change of declarations that waits, in their place
	Record       bool          `json:"record,omitempty"`  // write the result to the log
	Samples      int           `json:"samples,omitempty"` // differences to give in full; 200 by default, 5,000 at most
}

// TryAnswer is what would have been different.
type TryAnswer struct {
	Digest Digest    `json:"digest,omitzero"` // of the bundle; zero: each request by the one that was in force
	Set    Digest    `json:"set,omitzero"`    // of the declarations
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // of the last entry that was read
	Size   uint64    `json:"size"`           // entries that were read
	Judged int       `json:"judged"`
	// Different are the decisions that would have been others: another verdict, or other people asked. Differences are the
	// first Samples of them.
	Different   int             `json:"different"`
	Samples     int             `json:"samples"`
	Differences []TryDifference `json:"differences"`
	Changes     []TryChange     `json:"changes,omitempty"`
	By          []TryShare      `json:"by,omitempty"`
	// Asked is how many questions people were asked by these requests, WouldAsk how many it would have been; one question
	// to two groups is one for each.
	Asked     int           `json:"asked"`
	WouldAsk  int           `json:"would_ask"`
	Questions []TryQuestion `json:"questions,omitempty"` // by group and day
	// Unjudged is how many requests could not be judged again. They are in none of the numbers above.
	Unjudged  int           `json:"unjudged"`
	NotJudged []TryUnjudged `json:"not_judged,omitempty"`
	Observed  []TryObserved `json:"observed,omitempty"`
	Recorded  EntryIndex    `json:"recorded,omitempty"` // that has the result; 0: none
}

// TryChange counts decisions by what they were and would have been.
type TryChange struct {
	Was      Verdict `json:"was"`
	Would    Verdict `json:"would"`
	Requests int     `json:"requests"`
}

// TryShare counts the same for one agent, task or rule.
type TryShare struct {
	What     string     `json:"what"` // agent | task | rule
	Name     string     `json:"name"`
	Was      Verdict    `json:"was"`
	Would    Verdict    `json:"would"`
	Requests int        `json:"requests"`
	Entry    EntryIndex `json:"entry"` // the first of them
}

// TryQuestion is how often a group was asked on a day (UTC), and would have been.
type TryQuestion struct {
	Group string `json:"group"`
	Day   string `json:"day"`
	Was   int    `json:"was"`
	Would int    `json:"would"`
}

// TryUnjudged counts requests that could not be judged again.
type TryUnjudged struct {
	// Why: erased (what was asked is gone), missing (it should be there), facts (what it was judged on cannot be made again),
	// limit (it was denied for overload or a time-out), time-out (the bundle did not answer), refused (it would be no
	// decision).
	Why      string     `json:"why"`
	Requests int        `json:"requests"`
	Entry    EntryIndex `json:"entry"` // the first of them
}

// TryObserved counts the requests to which a rule on trial applies.
type TryObserved struct {
	Rule     string  `json:"rule"`
	Verdict  Verdict `json:"verdict"` // that it would be
	Requests int     `json:"requests"`
}

// TryDifference is a decision that would have been another.
type TryDifference struct {
	Entry    EntryIndex `json:"entry"`
	At       time.Time  `json:"at"`
	Agent    string     `json:"agent"`
	Task     ID         `json:"task"`
	Steps    []Step     `json:"steps"`
	Was      Verdict    `json:"was"`
	Would    Verdict    `json:"would"`
	Code     Code       `json:"code,omitempty"`
	Rules    []string   `json:"rules,omitempty"` // that would say so; where it would be allowed, those that fall away
	Sentence string     `json:"sentence,omitempty"`
	Needs    []Need     `json:"needs,omitempty"` // whom it would ask
}

// TrialView is the result of a trial that was written down.
type TrialView struct {
	Entry    EntryIndex `json:"entry"`
	At       time.Time  `json:"at"`
	By       string     `json:"by"`
	Digest   Digest     `json:"digest,omitzero"` // of the bundle
	Set      Digest     `json:"set,omitzero"`    // of the declarations
	Since    time.Time  `json:"since"`
	Judged   int        `json:"judged"`
	Unjudged int        `json:"unjudged"`
	// Decisions that would have been denied, held, allowed instead.
	Denied   int `json:"denied"`
	Held     int `json:"held"`
	Allowed  int `json:"allowed"`
	Asked    int `json:"asked"`
	WouldAsk int `json:"would_ask"`
}
