package remit

import (
	"fmt"
	"strings"
	"time"
)

// AssetKinds are the kinds of things that the inventory lists, in the order in which it lists them.
func AssetKinds() []string {
	return []string{"person", "agent", "instance", "entitlement", "grant", "lease", "credential", "tool", "repository", "pipeline", "artifact", "environment", "secret"}
}

// Asset is one thing that there is, and who answers for it. Times and entries are those of the log; what has none there
// has none here.
type Asset struct {
	Kind string `json:"kind"` // one of AssetKinds
	Name string `json:"name"` // within its kind; of an entitlement, AGENT/NUMBER
	// Owner is the name of the person, or "group NAME", who answers for it; empty: nobody does, and Unowned says why.
	Owner   string `json:"owner,omitempty"`
	Unowned string `json:"unowned,omitempty"`
	State   string `json:"state"`
	Text    string `json:"text,omitempty"` // what it is or may, for people

	Created   EntryIndex `json:"created,omitempty"` // 0: no entry says so
	CreatedAt *time.Time `json:"created_at,omitempty"`
	Last      EntryIndex `json:"last,omitempty"` // the newest entry in which it was used; 0: none
	LastAt    *time.Time `json:"last_at,omitempty"`
}

// AssetCount is how many things of a kind there are, and for how many of them nobody answers.
type AssetCount struct {
	Kind    string `json:"kind"`
	All     int    `json:"all"`
	Unowned int    `json:"unowned"`
	Unused  int    `json:"unused"` // within the time that was asked about
}

// Inventory is a page of what there is: first what nobody answers for, then by kind and name.
type Inventory struct {
	Assets []Asset      `json:"assets"` // at most 500
	Counts []AssetCount `json:"counts"` // of all that fits the filter, not of the page alone
	// After is the cursor of the next page; empty: there is none.
	After string     `json:"after,omitempty"`
	Size  EntryIndex `json:"size"` // of the log that it was made of
	// Forgotten tells that more things were used than are remembered: where no last use is said, there may be one.
	Forgotten bool `json:"forgotten,omitempty"`
}

// InventoryQuery narrows what is listed; the zero value narrows nothing.
type InventoryQuery struct {
	Kind   string        // one of AssetKinds
	Owner  string        // name of a person, "group NAME", or "-" for what nobody answers for
	Unused time.Duration // only what was not used for so long
	After  string        // cursor of the page before
	Limit  int           // 1 to 500; 0 is 100
}

// Line is what a scope covers, in one line for people.
func (sc Scope) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s", joined(sc.Actions), joined(sc.Resources))
	if len(sc.Refs) > 0 {
		b.WriteString(", refs " + joined(sc.Refs))
	}
	if len(sc.Paths) > 0 {
		b.WriteString(", paths " + joined(sc.Paths))
	}
	if sc.MaxCommits > 0 {
		fmt.Fprintf(&b, ", %d commits a push", sc.MaxCommits)
	}
	if sc.MaxBytes > 0 {
		fmt.Fprintf(&b, ", %d bytes a push", sc.MaxBytes)
	}
	return b.String()
}

func joined[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return strings.Join(out, ", ")
}
