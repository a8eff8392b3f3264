package remit

import "time"

// FindingView is what a detection found in the log.
type FindingView struct {
	Entry     EntryIndex   `json:"entry"` // that records it
	At        time.Time    `json:"at"`
	Detection string       `json:"detection"`
	Agent     string       `json:"agent,omitempty"`
	Task      ID           `json:"task,omitempty"`
	Instance  ID           `json:"instance,omitempty"`
	Entries   []EntryIndex `json:"entries"` // in which it shows
	Count     int          `json:"count"`
	Suspended bool         `json:"suspended,omitempty"` // the agent was, by this
}
