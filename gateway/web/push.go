package web

import (
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// pushed is the answer to a push, in the forge's terms.
type pushed struct {
	Status int       `json:"status"`
	Path   string    `json:"path,omitempty"`  // what is read at the forge and passed on
	Files  []fileNow `json:"files,omitempty"` // what stands in the answer of the contents API
	Many   bool      `json:"many,omitempty"`  // Files is a list there
	Commit string    `json:"commit,omitempty"`
	Branch string    `json:"branch,omitempty"`
	Text   string    `json:"text,omitempty"` // the message of the commit
}

type fileNow struct {
	Path string `json:"path"`
	Blob string `json:"blob,omitempty"` // empty: it is deleted
	Size int    `json:"size,omitempty"`
}

// push has Remit make the change, and asks for it as for any push.
func (c *call) push(m gateway.Making, answer pushed) error {
	m.Repo, m.When = c.repo, c.g.Now()
	m.Name, m.Email = c.req.Caller.Agent+" ("+string(c.req.Caller.Task)+")", string(c.req.Caller.Task)+"@remit.invalid"
	made, err := c.g.Git.Make(c, m)
	if err != nil {
		return err
	}
	c.order.Push, c.order.Pack, c.order.Answer = made.Order, made.Pack, &answer
	c.order.Method = ""
	answer.Commit = made.New
	for i := range answer.Files {
		if i < len(made.Blobs) {
			answer.Files[i].Blob = made.Blobs[i]
		}
	}
	c.req.Refs, c.req.Bytes = []remit.RefChange{made.Ref}, made.Bytes
	c.req.Card, c.payloads = made.Card.Commitment(), []remit.Payload{made.Card}
	return nil
}

// files are changes of contents on one branch.
func (c *call) files(o commit, edits []gateway.Edit, status int, many bool) error {
	if o.Force || o.Signoff || o.Author != (person{}) || o.Committer != (person{}) || o.Dates != (dates{}) {
		return remit.Errorf(remit.Forbidden, "who made the commit and when is Remit's to say, and it does not force: leave force_push, signoff, author, committer and dates out")
	}
	if len(edits) == 0 || len(edits) > maxFiles {
		return remit.Errorf(remit.BadRequest, "files lists 1 to %d changes, not %d", maxFiles, len(edits))
	}
	m := gateway.Making{Edits: edits, Message: o.Message}
	if o.Branch != "" {
		m.Ref = "refs/heads/" + o.Branch
	}
	if o.NewBranch != "" && o.NewBranch != o.Branch {
		m.Ref, m.From, m.Create = "refs/heads/"+o.NewBranch, m.Ref, true
	}
	if m.Message == "" {
		m.Message = verbs[edits[0].Op] + " " + edits[0].Path
	}
	answer := pushed{Status: status, Many: many, Branch: strings.TrimPrefix(m.Ref, "refs/heads/"), Text: m.Message[:min(len(m.Message), 1<<10)]}
	for _, e := range edits {
		answer.Files = append(answer.Files, fileNow{Path: e.Path, Size: len(e.Content)})
	}
	return c.push(m, answer)
}

// maxFiles is how many files one request changes.
const maxFiles = 200

var verbs = map[string]string{"create": "Add", "update": "Update", "delete": "Delete"}

func (c *call) file(op string, status int) error {
	b := c.body.(*changeFile)
	e := gateway.Edit{Op: op, Path: c.at.params["filepath"], Was: b.SHA, From: b.From}
	if op == "delete" && (b.Content != "" || b.From != "") || op == "create" && (b.SHA != "" || b.From != "") {
		return remit.Errorf(remit.BadRequest, "to %s a file takes no other file", op)
	}
	var err error
	if e.Content, err = decode64(b.Content); err != nil {
		return err
	}
	return c.files(b.commit, []gateway.Edit{e}, status, false)
}

func (c *call) createFile() error { return c.file("create", 201) }
func (c *call) deleteFile() error { return c.file("delete", 200) }

// updateFile creates a file where no blob id is given, as the forge does.
func (c *call) updateFile() error {
	if c.body.(*changeFile).SHA == "" {
		return c.file("create", 201)
	}
	return c.file("update", 200)
}

func (c *call) changeFiles() error {
	b := c.body.(*changeFiles)
	var edits []gateway.Edit
	for _, f := range b.Files {
		if verbs[f.Operation] == "" || bad(f.Path) || f.From != "" && (bad(f.From) || f.Operation != "update") {
			return remit.Errorf(remit.BadRequest, "files: an operation is create, update or delete of a path in the repository; only an update has a from_path")
		}
		content, err := decode64(f.Content)
		if err != nil {
			return err
		}
		edits = append(edits, gateway.Edit{Op: f.Operation, Path: f.Path, From: f.From, Was: f.SHA, Content: content})
	}
	return c.files(b.commit, edits, 201, true)
}

func (c *call) createBranch() error {
	b := c.body.(*createBranch)
	m := gateway.Making{Ref: "refs/heads/" + b.New, Create: true, From: b.OldRef}
	if m.From == "" {
		m.From = b.OldBranch
	}
	return c.push(m, pushed{Status: 201, Path: c.below("branches", b.New)})
}

func (c *call) moveBranch() error {
	b := c.body.(*moveBranch)
	if b.New == "" {
		return remit.Errorf(remit.BadRequest, "new_commit_id names the commit that the branch is to have")
	}
	// What is forced is seen as such by the rules; the member changes nothing.
	return c.push(gateway.Making{Ref: "refs/heads/" + c.at.params["branch"], Old: b.Old, From: b.New}, pushed{Status: 204})
}

func (c *call) deleteBranch() error {
	return c.push(gateway.Making{Ref: "refs/heads/" + c.at.params["branch"], Delete: true}, pushed{Status: 204})
}

func (c *call) createTag() error {
	b := c.body.(*createTag)
	m := gateway.Making{Ref: "refs/tags/" + b.Name, Create: true, From: b.Target, Tag: b.Message != "", Message: b.Message}
	return c.push(m, pushed{Status: 201, Path: c.below("tags", b.Name)})
}

func (c *call) deleteTag() error {
	return c.push(gateway.Making{Ref: "refs/tags/" + c.at.params["tag"], Delete: true}, pushed{Status: 204})
}

// updatePull merges the base into the branch that is proposed, by a commit of Remit's.
func (c *call) updatePull() error {
	if style := c.at.query.Get("style"); style != "" && style != "merge" {
		return remit.Errorf(remit.Forbidden, "style=%.20q would rewrite the branch; Remit merges (style=merge), or rebase it yourself and push", style)
	}
	p, err := c.pull()
	if err != nil {
		return err
	}
	if p.Head.Repo.Name != p.Base.Repo.Name {
		return remit.Errorf(remit.Forbidden, "pull request %d proposes a branch of another repository; update it there", p.Number)
	}
	base, err := c.branch(p.Base.Ref)
	if err != nil {
		return err
	}
	return c.push(gateway.Making{Ref: "refs/heads/" + p.Head.Ref, Old: p.Head.SHA, Merge: base,
		Message: "Merge branch " + p.Base.Ref + " into " + p.Head.Ref}, pushed{Status: 200})
}
