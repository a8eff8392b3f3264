// Package change says what a push would change: new commits, changed paths,
// what differs from the trusted ref, and what must not be pushed at all.
//
// It computes facts and takes no decision. Objects come from the resolved pack
// of the push and, below it, from a Base: a mirror of upstream that no agent
// can write. Everything a fact rests on has been read; an object that cannot
// be read is an error, never an empty result. The same input gives the same
// facts in the same order.
//
// # What counts as new
//
// The new commits of a ref are those reachable from its new value but neither
// from its old value nor from the tip of the trusted ref. Other branches are
// not left out: what somebody put on a branch that anyone may write has not
// been accepted for this ref.
//
// # What counts as changed
//
// Net changes compare the tree of the old value with the tree of the new one;
// on create the merge base with the trusted ref stands for the old value. They
// are complete: a merge of the trusted branch into a feature branch lists all
// that it brought. Changes whose result stands in the trusted history, at its
// tip or at the merge base, are marked Merged, so that a policy can tell what
// the push adds of its own.
//
// To these come the changes within each new commit, marked InHistoryOnly where
// their result is not in the net changes: added and reverted secrets show. For
// a merge, a path counts where it differs from every parent. Nothing escapes
// by that: what equals a parent is either in accepted history or was counted
// where a new commit introduced it, and what a merge silently takes from the
// older of two accepted sides shows in the net changes and, for control paths,
// in Pinned.
//
// Pinned compares control paths with the tip of the trusted ref, whatever
// history lies between: a new branch from an old commit with a weaker workflow
// shows there although it changes nothing.
package change

import (
	"context"
	"errors"

	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
)

// ErrNotFound is what Base.Object returns for an object it does not have.
var ErrNotFound = errors.New("change: object not found")

// Base is what upstream held when it was last observed. Implementations
// ignore replace refs, grafts and shallow files, and check that an object is
// what its id says.
type Base interface {
	// Object gives a commit, tree or tag, and a blob if it is at hand or can
	// be fetched; otherwise ErrNotFound.
	Object(ctx context.Context, oid object.OID) (object.Type, []byte, error)
	// Refs gives the observed refs by full name. The caller does not change it.
	Refs() map[string]object.OID
	// Reachable tells for each blob whether an observed ref reaches it. That
	// an object lies in the mirror is not enough. The answers are in the order
	// of the questions.
	Reachable(ctx context.Context, blobs []object.OID) ([]bool, error)
}

// Command is one line of a push: ref, old and new value; a zero Old creates,
// a zero New deletes.
type Command struct {
	Ref      string
	Old, New object.OID
}

// Control is the surface through which a repository steers its pipelines,
// reviewers and agents. Paths come folded by object.FoldPath.
type Control struct {
	// Match reports whether an entry that is not a directory belongs to the
	// surface. Nil matches nothing.
	Match func(folded string) bool
	// Parent reports whether the path must be a directory, because what lies
	// below it is protected: ".github" for ".github/**". A file, symbolic link
	// or submodule in its place is then part of the surface. May be nil.
	Parent func(folded string) bool
}

func (c Control) covers(folded string) bool {
	return c.Match != nil && c.Match(folded) || c.mustBeDirectory(folded)
}

func (c Control) mustBeDirectory(folded string) bool { return c.Parent != nil && c.Parent(folded) }

// Limits bound the work; zero fields take the value of DefaultLimits. Beyond
// any of them the push is TOO_LARGE_TO_JUDGE.
type Limits struct {
	Refs    int // commands
	Commits int // new commits of one ref
	Walk    int // commits read to find the new ones of one ref
	Paths   int // changes of the whole push
	Entries int // tree entries read for the whole push, repeated ones included
}

// DefaultLimits are the limits of a push.
var DefaultLimits = Limits{Refs: 50, Commits: 10_000, Walk: 200_000, Paths: 100_000, Entries: 50_000_000}

// Input is a push to be looked at.
type Input struct {
	Commands []Command
	Pack     *pack.Pack // nil when the push brings none
	Base     Base
	Trusted  string // full name of the ref whose history is accepted
	Control  Control
	Limits   Limits
}

// Push is what Facts found.
type Push struct {
	Refs     []Ref     // by name
	Findings []Finding // about the push as a whole
}

// Operations of Ref.
const (
	OpCreate = "create"
	OpUpdate = "update" // fast-forward of a branch
	OpForce  = "force"  // any other move; a tag moves only by force
	OpDelete = "delete"
)

// Ref is the change of one ref.
type Ref struct {
	Ref      string
	Op       string
	Old, New object.OID
	Commit   object.OID // New with tags taken off; zero on delete
	Tree     object.OID // of Commit
	Base     object.OID // the commit that the net changes compare with; zero: the empty tree
	Tag      *Tag       // nil unless New is an annotated tag
	Commits  []object.OID
	Brought  []object.OID // those of Commits that are in the pack
	Authors  []Author     // of Commits, at most 100; claims, for show only
	Signed   int          // how many of Commits carry a signature, which nobody verified
	Changes  []Change     // by path
	Pinned   []Change     // control paths that differ from the tip of the trusted ref
	Findings []Finding
}

// Tag is an annotated tag. All of it is claimed.
type Tag struct {
	Name   string
	Tagger object.Ident
	Signed bool
}

// Author is a name that a commit gives for who wrote or committed it.
type Author struct{ Name, Email string }

// Kinds of Change.
const (
	KindAdd    = "add"
	KindModify = "modify"
	KindDelete = "delete"
	KindType   = "type" // between file, symbolic link and submodule
)

// Change is one path that is not a directory. A rename is a delete and an add.
type Change struct {
	Path             string // bytes as in the tree, "/" between components
	Kind             string
	OldMode, NewMode uint32 // 0: absent
	Old, New         object.OID
	InHistoryOnly    bool       // Commit had this result, New does not have it
	Merged           bool       // the result stands so in the history of the trusted ref
	Commit           object.OID // a new commit with this result, if InHistoryOnly
}

// Finding is a reason to refuse a push, or with SUBMODULE to look closer.
type Finding struct {
	Code     string
	Path     string // a path, ref or object id
	Sentence string
}

// Codes of Finding; those of object.CheckName come to them.
const (
	CodeMoved           = "REF_MOVED"         // the old value is not what upstream was seen to have
	CodeBadTag          = "BAD_TAG"           // a tag that does not lead straight to a commit
	CodeBadTarget       = "BAD_TARGET"        // a branch that does not name a commit
	CodeUnrelated       = "UNRELATED_HISTORY" // a new commit without parents
	CodeSubmodule       = "SUBMODULE"         // a commit of another repository, which nobody here has seen
	CodeUnseen          = object.CodeUnseenObject
	CodeUnreferenced    = "UNREFERENCED"     // the pack brings what no pushed ref reaches
	CodeCollision       = "NAME_COLLISION"   // two names of one directory that are the same somewhere
	CodeControlMode     = "CONTROL_MODE"     // a control file that is a link or submodule
	CodeProtectedParent = "PROTECTED_PARENT" // no directory where a protected path needs one
	CodeGitmodules      = "GITMODULES"       // .gitmodules that can run commands or leave the tree
	CodeGitattributes   = "GITATTRIBUTES"    // .gitattributes that harms older git versions
	codeBadCommand      = "BAD_COMMAND"
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value    *int
		standard int
	}{
		{&l.Refs, DefaultLimits.Refs}, {&l.Commits, DefaultLimits.Commits}, {&l.Walk, DefaultLimits.Walk},
		{&l.Paths, DefaultLimits.Paths}, {&l.Entries, DefaultLimits.Entries},
	} {
		if *f.value <= 0 {
			*f.value = f.standard
		}
	}
	return l
}
