package remit

// What Remit's own control leaves in the log: what was erased, that a log went on from an older copy of itself, and what
// the detections found.

type (
	// PayloadsErased says which payloads are gone for good. They go in the same transaction.
	PayloadsErased struct {
		By       ID       `cbor:"1,keyasint"`
		Payloads []Digest `cbor:"2,keyasint"`           // commitments
		Reason   Digest   `cbor:"3,keyasint"`           // commitment
		Access   ID       `cbor:"4,keyasint,omitempty"` // the approval
	}
	// LogForked: the log goes on from a backup of itself. What was written after that is lost; whoever saw it sees that
	// this is another log from there on.
	LogForked struct {
		By        []ID   `cbor:"1,keyasint"` // who signed; sorted
		Size      uint64 `cbor:"2,keyasint"` // entries of the backup
		Lost      uint64 `cbor:"3,keyasint"` // entries that the newest checkpoint covers; where none is left, Size
		LostRoot  Digest `cbor:"4,keyasint,omitzero"`
		Statement Digest `cbor:"5,keyasint"`           // of the bytes as signed
		Exposed   int64  `cbor:"6,keyasint,omitempty"` // Unix nanoseconds: until then at most, credentials made since may live
	}
	// EntryLost stands in the place of an entry that may have been: ids carry entries, and none is ever used again.
	EntryLost struct{}
	// DetectionDeclared says what a detection may do by itself.
	DetectionDeclared struct {
		Name    string `cbor:"1,keyasint"`
		Suspend bool   `cbor:"2,keyasint,omitempty"` // the agent that it finds
		By      ID     `cbor:"3,keyasint,omitempty"`
	}
	// Found is what a detection found in the log.
	Found struct {
		Detection string       `cbor:"1,keyasint"`
		Agent     string       `cbor:"2,keyasint,omitempty"`
		Task      ID           `cbor:"3,keyasint,omitempty"`
		Instance  ID           `cbor:"4,keyasint,omitempty"`
		Entries   []EntryIndex `cbor:"5,keyasint"` // in which it shows, ascending; the first of them where there are many
		Count     int          `cbor:"6,keyasint"` // how many there are
		Suspended bool         `cbor:"7,keyasint,omitempty"`
	}
)

func (*PayloadsErased) Kind() string    { return "payloads.erased" }
func (*LogForked) Kind() string         { return "log.forked" }
func (*EntryLost) Kind() string         { return "entry.lost" }
func (*DetectionDeclared) Kind() string { return "detection.declared" }
func (*Found) Kind() string             { return "finding.recorded" }

// Erases is what the log no longer has a payload for.
func (e *PayloadsErased) Erases() []Digest { return e.Payloads }

// Brought is which commits an erased push brought to a repository: who is behind them decides who may vote on what is
// made of them, so it is kept.
type Brought struct {
	Entry   EntryIndex `json:"entry"` // of the push
	Repo    Resource   `json:"repo"`
	Commits []string   `json:"commits"` // hex
}
