package web

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// pullNow is what the forge says of a pull request.
type pullNow struct {
	Number int64  `json:"number"`
	State  string `json:"state"`
	Draft  bool   `json:"draft"`
	Merged bool   `json:"merged"`
	Commit string `json:"merge_commit_sha"`
	Title  string `json:"title"`
	Head   side   `json:"head"`
	Base   side   `json:"base"`
}

type side struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo struct {
		Name string `json:"full_name"`
	} `json:"repo"`
}

// pull reads the pull request that the path names.
func (c *call) pull() (pullNow, error) {
	var p pullNow
	if err := c.g.observe(c, c.forge, c.below("pulls", c.at.params["index"]), &p); err != nil {
		return p, err
	}
	if p.Number != c.number("index") || p.Base.Ref == "" || !isCommit(p.Head.SHA) {
		return p, remit.Errorf(remit.UpstreamDown, "what the forge says of pull request %s cannot be used: it names no base and head", c.at.params["index"])
	}
	if p.Base.Repo.Name != c.at.params["owner"]+"/"+c.at.params["repo"] {
		return p, remit.Errorf(remit.UpstreamDown, "the forge says that pull request %d is of another repository", p.Number)
	}
	return p, nil
}

// branch reads the commit of a branch.
func (c *call) branch(name string) (string, error) {
	return c.g.tip(c, c.forge, c.below("branches", name))
}

func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// about gives a pull request's change: what merging it would do to its base, with the facts of a push.
func (c *call) about() (pullNow, gateway.Made, *binding, error) {
	p, err := c.pull()
	if err != nil {
		return p, gateway.Made{}, nil, err
	}
	if p.Merged || p.State != "open" {
		return p, gateway.Made{}, nil, remit.Errorf(remit.Conflict, "pull request %d is %s", p.Number, map[bool]string{true: "merged already", false: "closed"}[p.Merged])
	}
	made, err := c.g.Git.Merge(c, gateway.Making{Repo: c.repo, Ref: "refs/heads/" + p.Base.Ref, Merge: p.Head.SHA, Pull: p.Number})
	if err != nil {
		return p, made, nil, err
	}
	b := &binding{Pull: p.Number, Ref: made.Ref.Ref, Base: made.Ref.Old, Head: p.Head.SHA, Tree: made.Ref.Tree, Diff: "sha256:" + remit.DiffDigest(made.Ref.Paths).String()}
	c.req.Refs = []remit.RefChange{made.Ref}
	return p, made, b, json.Unmarshal(made.Card.Body, &c.card)
}

// createReview gives a verdict on exactly one change: base, head and the tree that a merge of them has.
func (c *call) createReview() error {
	b := c.body.(*createReview)
	verdict := ""
	switch b.Event {
	case "APPROVED", "APPROVE":
		verdict = remit.ReviewApprove
	case "REQUEST_CHANGES":
		verdict = remit.ReviewReject
	case "COMMENT":
		p, err := c.pull()
		if err != nil {
			return err
		}
		if b.Commit == "" {
			b.Commit = p.Head.SHA
		}
		return c.passAs("issue.comment", c.resource())
	default:
		return remit.Errorf(remit.BadRequest, "event is APPROVED, REQUEST_CHANGES or COMMENT, not %.40q: a review is given whole, in one request", b.Event)
	}
	p, _, bind, err := c.about()
	if err != nil {
		return err
	}
	if b.Commit != "" && b.Commit != p.Head.SHA {
		return remit.Errorf(remit.Stale, "the verdict is on %.64q, but the head of pull request %d is %s now; look at it again", b.Commit, p.Number, p.Head.SHA)
	}
	b.Commit, bind.Review = p.Head.SHA, verdict
	c.order.Bind, c.req.Review = bind, verdict
	return c.passAs("review.submit", c.resource())
}

// mergePull merges with the head as compare-and-swap; base and tree are looked at before and after.
func (c *call) mergePull() error {
	b := c.body.(*mergePull)
	if b.Do != "merge" {
		return remit.Errorf(remit.Forbidden, "do is merge, not %.40q: other ways make commits that nobody reviewed; squash or rebase the branch yourself, push it, and have that merged", b.Do)
	}
	if b.Force || b.WhenGreen || b.Commit != "" || b.OldCommit != "" || b.Delete != nil && *b.Delete {
		return remit.Errorf(remit.Forbidden, "a merge is made at once, as the forge's checks allow, and nothing else with it: leave force_merge, merge_when_checks_succeed, merge_commit_id and delete_branch_after_merge out")
	}
	p, _, bind, err := c.about()
	if err != nil {
		return err
	}
	if p.Draft {
		return remit.Errorf(remit.Conflict, "pull request %d is a draft; say that it is ready first", p.Number)
	}
	if b.Head != "" && b.Head != p.Head.SHA {
		return remit.Errorf(remit.Stale, "the head of pull request %d is %s, not %.64q; look at it again", p.Number, p.Head.SHA, b.Head)
	}
	pick := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	c.body = &mergePull{Do: "merge", Title: pick(b.Title, b.OldTitle), Message: pick(b.Message, b.OldMessage), Head: p.Head.SHA}
	c.order.Bind = bind
	return c.passAs("source.merge", c.resource())
}

// matches tells whether a merge commit is the one that was decided about.
func (b *binding) matches(parents []string, tree string) bool {
	return slices.Equal(parents, []string{b.Base, b.Head}) && tree == b.Tree
}
