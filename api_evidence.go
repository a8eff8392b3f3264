package remit

import (
	"fmt"
	"slices"
	"time"
)

// EvidenceState is how far a control is there. Nothing is in force because nobody looked: what says nothing is not seen.
type EvidenceState string

const (
	EvidenceInForce    EvidenceState = "in force"
	EvidencePartly     EvidenceState = "partly"
	EvidenceNotInForce EvidenceState = "not in force"
	EvidenceNotSeen    EvidenceState = "not seen" // the log says nothing of what it is about
)

// Valid tells whether s is one of the four.
func (s EvidenceState) Valid() bool {
	return slices.Contains([]EvidenceState{EvidenceInForce, EvidencePartly, EvidenceNotInForce, EvidenceNotSeen}, s)
}

// EvidenceReport is what the log and the configuration in it say of the items of a framework.
type EvidenceReport struct {
	Org       Org               `json:"org"`
	Origin    string            `json:"origin"` // of the log
	Profile   Profile           `json:"profile"`
	Rules     int               `json:"rules"` // version of the compiled rules in force at the end
	Framework EvidenceFramework `json:"framework"`
	Since     time.Time         `json:"since"`   // figures are of entries from here on
	Until     time.Time         `json:"until"`   // and before this; states are as of then
	Size      uint64            `json:"size"`    // entries of the log that were read
	Entries   int               `json:"entries"` // of them, those of the period
	Settings  EvidenceSettings  `json:"settings"`
	Items     []EvidenceItem    `json:"items"`
	Controls  []EvidenceControl `json:"controls"` // that answer an item, by name
}

// EvidenceSettings are what the server says of itself. The log does not prove them; whoever checks a pack takes them as said.
type EvidenceSettings struct {
	SecondHead bool  `json:"second_head"` // the log's head is kept outside its own directory as well
	PublicLog  bool  `json:"public_log"`  // anyone reads the entries
	TokenLife  int64 `json:"token_life"`  // seconds that a token of an instance lives
	SVIDLife   int64 `json:"svid_life"`   // seconds that its certificate lives
}

// EvidenceFramework is whose items they are.
type EvidenceFramework struct {
	ID        string           `json:"id"`
	Title     string           `json:"title"`
	Publisher string           `json:"publisher"`
	Version   string           `json:"version"`
	Note      string           `json:"note,omitempty"` // how the titles were taken, and what the map leaves out
	Sources   []EvidenceSource `json:"sources"`
	Map       Digest           `json:"map"` // SHA-256 of the map's bytes
}

// EvidenceSource is a public text that a map rests on.
type EvidenceSource struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// EvidenceItem is one item with the controls that answer it, and what they do not cover.
type EvidenceItem struct {
	ID       string        `json:"id"`
	Title    string        `json:"title"`
	State    EvidenceState `json:"state"`
	Controls []string      `json:"controls"`
	Gaps     []string      `json:"gaps"`
}

// EvidenceControl is one control: what it claims, how it stands, and what the log has of it.
type EvidenceControl struct {
	Name    string           `json:"name"`
	Title   string           `json:"title"`
	Claim   string           `json:"claim"`
	State   EvidenceState    `json:"state"`
	Why     []EvidenceSaid   `json:"why"`
	Figures []EvidenceFigure `json:"figures"`
	// Silent: no entry of the period says anything of it.
	Silent bool `json:"silent"`
}

// EvidenceSaid is one reason of a state, with the entries that say so. One without entries says so itself, or rests on settings.
type EvidenceSaid struct {
	State   EvidenceState   `json:"state"`
	Text    string          `json:"text"`
	Entries EvidenceEntries `json:"entries"`
}

// EvidenceFigure is a number of the period. Value is Entries.Count, or so many seconds.
type EvidenceFigure struct {
	Name    string          `json:"name"`
	Text    string          `json:"text"`
	Unit    string          `json:"unit"` // entries or seconds
	Value   int64           `json:"value"`
	Entries EvidenceEntries `json:"entries"`
}

// Shown is the value with its unit; nothing is said of what has no entry.
func (f EvidenceFigure) Shown() string {
	switch {
	case f.Entries.Count == 0:
		return "none"
	case f.Unit == EvidenceSeconds:
		return (time.Duration(f.Value) * time.Second).String()
	}
	return fmt.Sprint(f.Value)
}

// Units of figures.
const (
	EvidenceCount   = "entries"
	EvidenceSeconds = "seconds"
)

// EvidenceEntries are entries on which a statement rests. Digest binds all of them; Listed are at most 24: where there are
// more, the first and the last 12.
type EvidenceEntries struct {
	Count  int          `json:"count"`
	Listed []EntryIndex `json:"listed"` // ascending
	Digest Digest       `json:"digest"` // EntriesDigest of all; empty for none
}

// MaxEvidenceListed is how many entries are listed.
const MaxEvidenceListed = 24

// NewEvidenceEntries describes entries, which are ascending, each once.
func NewEvidenceEntries(all []EntryIndex) EvidenceEntries {
	e := EvidenceEntries{Count: len(all), Listed: []EntryIndex{}}
	if len(all) == 0 {
		return e
	}
	e.Digest = EntriesDigest(all)
	if len(all) <= MaxEvidenceListed {
		e.Listed = append(e.Listed, all...)
		return e
	}
	e.Listed = append(append(e.Listed, all[:MaxEvidenceListed/2]...), all[len(all)-MaxEvidenceListed/2:]...)
	return e
}

// EntriesDigest is the digest of a list of entries: of their JSON, in a domain of its own.
func EntriesDigest(all []EntryIndex) Digest { return digestJSON("evidence entries", all) }

// EvidencePack is a report with what proves it, as one file in one encoding. Every entry that the report lists is there with
// its proof under the checkpoint; Signature is the log's own, over all the rest.
type EvidencePack struct {
	Format     int            `json:"format"`
	Map        string         `json:"map"` // the framework's map, as it was read
	Report     EvidenceReport `json:"report"`
	Checkpoint string         `json:"checkpoint"` // signed head over Report.Size entries
	Receipts   []string       `json:"receipts"`   // C2SP tlog-proof, each with its entry, by ascending entry
	Signature  string         `json:"signature"`  // a signed note over the digest of the pack without it
}

// SourceView is a change of a ref that Remit let through, with the level of the SLSA Source track that it justifies.
type SourceView struct {
	Repository Resource     `json:"repository"`
	Ref        string       `json:"ref"`
	Commit     string       `json:"commit"`
	Decision   EntryIndex   `json:"decision"`
	Outcome    EntryIndex   `json:"outcome"`
	At         time.Time    `json:"at"`
	Agent      string       `json:"agent"`
	Task       ID           `json:"task"`
	Policy     Digest       `json:"policy"`
	Rules      int          `json:"rules"`
	Levels     []string     `json:"levels"`  // the highest, then properties
	Persons    []ID         `json:"persons"` // who approved exactly this and count; agents never do
	Since      EntryIndex   `json:"since"`   // the decision from which the history of the ref is unbroken
	Entries    []EntryIndex `json:"entries"` // on which it rests
	Why        []string     `json:"why"`     // why no higher level
}
