package gateway

import (
	"time"

	"github.com/remit-dev/remit"
)

// Making is a change of one ref that a client asks for through an API instead of pushing it: Remit makes the objects
// itself, so that it is judged by the same facts and carried out in the same way as a push.
type Making struct {
	Repo   string // UPSTREAM/PATH
	Ref    string // in full; empty: the default branch
	Old    string // the ref's value must be this one; empty: whatever it is
	From   string // what it builds on, a commit id, a ref in full or a branch or tag by its short name; empty: Ref itself
	Create bool   // the ref must not exist yet
	Delete bool   // the ref; nothing but Repo, Ref and Old is looked at
	Edits  []Edit
	Merge  string // commit id that is merged in
	Pull   int64  // number of the pull request that Merge is the head of, 0: of none
	Tag    bool   // Message goes into an annotated tag, not into a commit

	Message string
	Name    string // who makes the commit
	Email   string
	When    time.Time
}

// Edit is one changed path of a Making.
type Edit struct {
	Op      string // create, update or delete
	Path    string
	From    string // update: the path that it has now; empty: Path
	Was     string // id of the blob that is there now; required but for create
	Content []byte
}

// Made is what a Making would do.
type Made struct {
	Ref   remit.RefChange
	Card  remit.Payload // what people are shown; commits, paths, diff
	Bytes int64
	New   string   // the ref's value after it; empty when it is deleted or nothing was kept
	Blobs []string // of Edits, in their order
	Order []byte   // for Forward and Reconcile of the git gateway
	Pack  remit.Digest
}
