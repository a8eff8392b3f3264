package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
)

// order is what Forward needs, as kept in remit.Request.Order. Pack is named as in the git gateway's own orders, so that
// whoever keeps packs for held orders finds it in both.
type order struct {
	Forge  string          `json:"forge"`
	Repo   string          `json:"repo"` // declared name
	Method string          `json:"method,omitempty"`
	Path   string          `json:"path"`            // below /api/v1, escaped
	Query  string          `json:"query,omitempty"` // encoded
	Body   json.RawMessage `json:"body,omitempty"`
	Read   bool            `json:"read,omitempty"`
	Bind   *binding        `json:"bind,omitempty"` // of a merge and of a review
	Push   json.RawMessage `json:"push,omitempty"` // the git gateway's order; then Method, Path and Body are not sent
	Pack   remit.Digest    `json:"pack,omitzero"`
	Answer *pushed         `json:"answer,omitempty"` // to a push
}

// binding is the change that a merge makes and a review is about.
type binding struct {
	Pull   int64  `json:"pull"`
	Ref    string `json:"ref"`  // that the pull request is to be merged into
	Base   string `json:"base"` // its commit
	Head   string `json:"head"` // the commit that is merged in
	Tree   string `json:"tree"` // that results
	Diff   string `json:"diff"` // sha256 of the changed paths, as JSON: modes and blob ids, so contents
	Review string `json:"review,omitempty"`
}

// call is a request while it is classified.
type call struct {
	context.Context
	g        *Gateway
	forge    Forge
	repo     string // declared name
	at       place
	body     any
	order    order
	req      remit.Request
	card     remit.Shown
	payloads []remit.Payload
}

// classify says what a request would do. Whatever it reads of the forge it reads in Remit's own name.
func (g *Gateway) classify(ctx context.Context, caller remit.Caller, r *http.Request) (*call, error) {
	at, err := parse(g.Prefix, r)
	if err != nil {
		return nil, err
	}
	if at.version {
		return nil, remit.Errorf(remit.Forbidden, "%s changes nothing and is not decided about", version)
	}
	c := &call{Context: ctx, g: g, at: at}
	if c.forge, err = g.Forges.Forge(ctx, at.forge); err != nil {
		return nil, err
	}
	if c.repo, err = g.Forges.Repository(ctx, at.forge, at.params["owner"]+"/"+at.params["repo"]); err != nil {
		return nil, err
	}
	if c.body, err = readBody(r, at.route); err != nil {
		return nil, err
	}
	c.order = order{Forge: at.forge, Repo: c.repo, Method: at.route.method, Path: at.path, Query: at.query.Encode(), Read: at.route.write == nil}
	c.req = remit.Request{Gateway: Name, Caller: caller, Steps: []remit.Step{{Action: at.route.action, Resource: c.resource()}}}
	if at.route.write != nil {
		if err := at.route.write(c); err != nil {
			return c, err
		}
	}
	c.req.Order, err = marshal(c.order)
	return c, err
}

func (c *call) resource() remit.Resource { return remit.Resource("repo:" + c.repo) }

// pass is a write that is sent on as it was parsed. The digest of all of it is bound by the decision.
func (c *call) pass() error {
	if l, ok := c.body.(*labels); ok {
		if err := l.check(); err != nil {
			return err
		}
	}
	return c.passAs(c.at.route.action, c.resource())
}

func (c *call) passAs(action remit.Action, on remit.Resource) error {
	if _, err := remit.ParseResource(string(on)); err != nil {
		return remit.Errorf(remit.UnknownResource, "%w", err)
	}
	body, err := encode(c.body)
	if err != nil {
		return err
	}
	c.order.Body = body
	c.req.Bytes = int64(len(body))
	c.req.Steps = []remit.Step{{Action: action, Resource: on, Args: c.args()}}
	c.card.Diff = c.text() + c.card.Diff
	return c.show()
}

// args is the digest of what would be sent.
func (c *call) args() remit.Digest {
	o := c.order
	return remit.Hash([]byte(o.Method + " " + o.Path + "?" + o.Query + "\n" + string(o.Body)))
}

// text is the request as people read it: one line a member, nothing that a terminal would obey.
func (c *call) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.order.Method, remit.Visible(c.order.Path))
	if c.order.Query != "" {
		b.WriteString("?" + remit.Visible(c.order.Query))
	}
	b.WriteByte('\n')
	var members map[string]json.RawMessage
	if json.Unmarshal(c.order.Body, &members) != nil {
		return b.String()
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text := string(members[name])
		var s string
		if json.Unmarshal(members[name], &s) == nil {
			text = s
		}
		lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
		fmt.Fprintf(&b, "%s: %s\n", remit.Visible(name), remit.Visible(lines[0]))
		for _, l := range lines[1:] {
			b.WriteString("    " + remit.Visible(l) + "\n")
		}
	}
	return b.String()
}

// maxShown is how much text a card shows at most, in bytes.
const maxShown = 24 << 10

// show makes the card's payload.
func (c *call) show() error {
	var p remit.Payload
	if _, err := io.ReadFull(c.g.Random, p.Salt[:]); err != nil {
		return fmt.Errorf("making a salt: %w", err)
	}
	for most := maxShown; ; most /= 2 {
		if len(c.card.Diff) > most {
			c.card.Diff, c.card.Cut = strings.ToValidUTF8(c.card.Diff[:most], ""), true
		}
		var err error
		if p.Body, err = json.Marshal(c.card); err != nil {
			return err
		}
		if len(p.Body) <= remit.MaxPayload {
			break
		}
		if most == 0 {
			return remit.Errorf(remit.TooLargeToJudge, "the request cannot be shown in %d bytes; make it smaller", remit.MaxPayload)
		}
	}
	c.req.Card, c.payloads = p.Commitment(), []remit.Payload{p}
	return nil
}

func (l *labels) check() error {
	for _, v := range l.Labels {
		switch v := v.(type) {
		case string:
			continue
		case float64:
			if v == float64(int64(v)) && v > 0 && v < 1<<53 {
				continue
			}
		}
		return remit.Errorf(remit.BadRequest, "labels are names or ids")
	}
	return nil
}

// number is a parameter of the path.
func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.at.params[name], 10, 64)
	if err != nil {
		return 0 // no such number exists; the route's own check bounds the digits
	}
	return n
}

// below is the path of a resource of the repository at the forge.
func (c *call) below(parts ...string) string {
	p := "/repos/" + url.PathEscape(c.at.params["owner"]) + "/" + url.PathEscape(c.at.params["repo"])
	for _, part := range parts {
		p += "/" + escape(part, true)
	}
	return p
}

// editIssue closes and opens pull requests, too: the forge counts them together. Then it is a step on the proposal.
func (c *call) editIssue() error {
	var is struct {
		Pull *struct{} `json:"pull_request"`
	}
	if err := c.g.observe(c, c.forge, c.below("issues", c.at.params["index"]), &is); err != nil {
		return err
	}
	if is.Pull != nil {
		return c.passAs(propose, c.resource())
	}
	return c.pass()
}

// createPull proposes one branch of the repository for another.
func (c *call) createPull() error {
	p := c.body.(*createPull)
	if strings.Contains(p.Head, ":") || p.Head == "" || p.Base == "" {
		return remit.Errorf(remit.BadRequest, "head and base are branches of this repository; a branch of another one is proposed there")
	}
	if p.Maintainer != nil && *p.Maintainer {
		return remit.Errorf(remit.Forbidden, "allow_maintainer_edit would let others push to the branch; leave it out")
	}
	return c.pass()
}

func (c *call) editPull() error {
	if p := c.body.(*editPull); p.Maintainer != nil {
		return remit.Errorf(remit.Forbidden, "allow_maintainer_edit decides who may push to the branch; leave it out")
	}
	return c.pass()
}

// dispatch starts a workflow.
func (c *call) dispatch() error {
	file := c.at.params["workflow_id"]
	if !plain(file) {
		return remit.Errorf(remit.BadRequest, "a workflow is named by its file, such as build.yml, not %.60q", file)
	}
	_, path, _ := strings.Cut(c.repo, "/")
	return c.passAs("build.trigger", remit.Resource("pipeline:"+c.forge.Name+"/"+path+"/"+file))
}

// createRelease makes a release of a tag that exists: a tag that the forge makes on the way would be a push that nobody
// judged, in another zone.
func (c *call) createRelease() error {
	b := c.body.(*createRelease)
	if b.TagMessage != "" {
		return remit.Errorf(remit.Forbidden, "tag_message would make a tag; make it first, with git or POST …/tags")
	}
	target, err := c.tagged(b.Tag)
	if err != nil {
		return err
	}
	if b.Target != "" && b.Target != target {
		c.card.Diff = "(asked for " + remit.Visible(b.Target) + " as the target; the tag decides)\n"
	}
	b.Target = target
	return c.pass()
}

func (c *call) editRelease() error {
	b := c.body.(*editRelease)
	if b.Tag != "" || b.Target != "" {
		return remit.Errorf(remit.Forbidden, "tag_name and target_commitish would move the release to another tag; make another release")
	}
	var is struct {
		Tag string `json:"tag_name"`
	}
	if err := c.g.observe(c, c.forge, c.below("releases", c.at.params["id"]), &is); err != nil {
		return err
	}
	if _, err := c.tagged(is.Tag); err != nil { // publishing a draft makes its tag
		return err
	}
	return c.pass()
}

// tagged gives the commit of a tag that exists.
func (c *call) tagged(tag string) (string, error) {
	if tag == "" || bad(tag) {
		return "", remit.Errorf(remit.BadRequest, "tag_name names a tag")
	}
	var is struct {
		Commit struct {
			SHA string `json:"sha"`
		} `json:"commit"`
	}
	err := c.g.observe(c, c.forge, c.below("tags", tag), &is)
	if isNotFound(err) || err == nil && is.Commit.SHA == "" {
		return "", remit.Errorf(remit.Conflict, "the tag %.100q does not exist yet; make it first, with git or POST …/tags, then release it", tag)
	}
	return is.Commit.SHA, err
}
