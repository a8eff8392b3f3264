package remit

// EraseRequest asks that payloads are erased: those of a task that has ended, a person's name after they left, or what
// stands at one entry. One of the first three is set.
type EraseRequest struct {
	Task   ID          `json:"task,omitempty"`
	Person string      `json:"person,omitempty"` // name or id
	Entry  *EntryIndex `json:"entry,omitempty"`
	Reason string      `json:"reason"`
}

// DrainRequest lets a server come to rest, or, with Undo, go on.
type DrainRequest struct {
	Undo bool `json:"undo,omitempty"`
}

// DrainAnswer is how far it is: at rest when it is draining and nothing is under way any more.
type DrainAnswer struct {
	Draining bool    `json:"draining"`
	Attempts []ID    `json:"attempts"` // under way, at most 100
	Head     LogHead `json:"head"`     // signed, and written a second time
}

// EraseAnswer is what came of it: allowed, and erased; or held for a second administrator.
type EraseAnswer struct {
	Decision Decision `json:"decision"`
	Payloads int      `json:"payloads"`
}
