package remit

import (
	"encoding/json"
	"time"
)

// ReviewView is a verdict of an agent on a change, as people see it. In a list, only what the state holds is set; one of
// them by its entry has all of it.
type ReviewView struct {
	Entry      EntryIndex `json:"entry"` // of the outcome that recorded it
	At         time.Time  `json:"at,omitzero"`
	Repository Resource   `json:"repository"`
	Verdict    string     `json:"verdict"` // approve or reject
	Agent      string     `json:"agent"`
	Task       ID         `json:"task"`
	Head       string     `json:"head"`           // commit
	Ref        string     `json:"ref,omitempty"`  // that it is to be merged into
	Base       string     `json:"base,omitempty"` // commit of Ref
	Tree       string     `json:"tree,omitempty"` // that merging gives
	Diff       Digest     `json:"diff,omitzero"`  // DiffDigest of what merging changes
	Superseded bool       `json:"superseded,omitempty"`
}

// DiffDigest is what a difference is named by where it is attested: SHA-256 over the changed paths as JSON, with modes
// and blob ids, so with all contents.
func DiffDigest(paths []PathChange) Digest {
	if len(paths) == 0 {
		paths = nil // as a stored request has it
	}
	b, err := json.Marshal(paths)
	if err != nil {
		panic("remit: paths are texts and numbers: " + err.Error())
	}
	return Hash(b)
}
