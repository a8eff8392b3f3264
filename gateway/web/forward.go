package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// patience is how long a forge may take over a write.
const patience = 2 * time.Minute

// Forward carries out an order. w is nil when Remit itself completes what was held.
func (g *Gateway) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	var ord order
	if err := json.Unmarshal(o.Body, &ord); err != nil {
		return g.not(w, remit.Errorf(remit.Internal, "the work order cannot be read: %w", err))
	}
	f, err := g.forge(ctx, ord)
	if err != nil {
		return g.not(w, gateway.AsError(remit.Internal, err))
	}
	switch {
	case ord.Read:
		return g.read(ctx, f, ord, cred, w)
	case ord.Push != nil:
		return g.carry(ctx, f, o, ord, cred, w)
	case ord.Bind != nil && ord.Bind.Review == "":
		return g.merge(ctx, f, ord, cred, w)
	case ord.Bind != nil:
		if err := g.unmoved(ctx, f, ord); err != nil {
			return g.not(w, gateway.AsError(remit.UpstreamDown, err))
		}
	}
	return g.write(ctx, f, ord, cred, w)
}

// forge finds where an order goes; what it names is still to be declared.
func (g *Gateway) forge(ctx context.Context, o order) (Forge, error) {
	f, err := g.Forges.Forge(ctx, o.Forge)
	if err != nil {
		return f, err
	}
	at := strings.SplitN(strings.TrimPrefix(o.Path, "/repos/"), "/", 3)
	if len(at) < 2 {
		return f, remit.Errorf(remit.Internal, "the work order names no repository")
	}
	name, err := g.Forges.Repository(ctx, o.Forge, at[0]+"/"+at[1])
	if err == nil && name != o.Repo {
		err = remit.Errorf(remit.Stale, "%s is another repository now than when this was decided", o.Repo)
	}
	return f, err
}

// not is what did not happen.
func (g *Gateway) not(w http.ResponseWriter, why *remit.Error) gateway.Result {
	if w != nil {
		g.fail(w, why, nil)
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: why.Code, Receipt: []byte(why.Sentence)}
}

// read streams an answer through. Nothing can have changed at the forge, so what goes wrong is not_applied.
func (g *Gateway) read(ctx context.Context, f Forge, o order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	if w == nil {
		return g.not(nil, remit.Errorf(remit.BadRequest, "a read is not completed without the client that asked for it"))
	}
	res, secret, err := f.send(ctx, outgoing{method: o.Method, path: o.Path, query: o.Query, apply: cred.Apply, accept: "*/*"})
	if err == nil && res.StatusCode >= 500 {
		res.Body.Close()
		err = remit.Errorf(remit.UpstreamDown, "forge %s fails (status %d)", f.Name, res.StatusCode)
	}
	if err == nil && res.ContentLength > g.MaxAnswer {
		res.Body.Close()
		err = remit.Errorf(remit.TooLarge, "the answer has %d bytes; at most %d are passed through", res.ContentLength, g.MaxAnswer)
	}
	if err != nil {
		return g.not(w, gateway.AsError(remit.UpstreamDown, err))
	}
	defer res.Body.Close()
	g.head(w, res)
	if err := g.stream(ctx, w, &guard{r: res.Body, left: g.MaxAnswer, secrets: secret}); err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		g.Log.Warn("a read was not answered whole", "forge", f.Name, "path", o.Path, "err", err)
		return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(e.Sentence)}
	}
	return gateway.Result{Outcome: remit.Done}
}

// receipt is what is kept of the forge's answer to a write.
type receipt struct {
	Status  int             `json:"status,omitempty"`
	Bind    *binding        `json:"bind,omitempty"`
	Commit  string          `json:"commit,omitempty"`
	Tree    string          `json:"tree,omitempty"`
	Parents []string        `json:"parents,omitempty"`
	Said    string          `json:"said,omitempty"`
	Answer  json.RawMessage `json:"answer,omitempty"`
}

func (r receipt) encode() []byte {
	if len(r.Answer) > 48<<10 || !json.Valid(r.Answer) {
		r.Said, r.Answer = strings.ToValidUTF8(string(r.Answer[:min(len(r.Answer), 4<<10)]), "?"), nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

// write sends what was judged, once.
func (g *Gateway) write(ctx context.Context, f Forge, o order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	status, header, body, err := g.post(ctx, f, o, cred)
	if err != nil {
		return g.unclear(w, err)
	}
	res := gateway.Result{Receipt: receipt{Status: status, Bind: o.Bind, Answer: body}.encode()}
	switch {
	case status < 300:
		res.Outcome = remit.Done
	case status >= 500:
		res.Outcome, res.Code = remit.Ambiguous, remit.UpstreamDown
	default:
		res.Outcome, res.Code = remit.NotApplied, codeOf(status)
	}
	if w != nil {
		g.relay(w, status, header, body)
	}
	return res
}

// post sends an order and reads the whole answer. Once it is sent it cannot be taken back, so an end of ctx then no
// longer ends it: the answer is worth having.
func (g *Gateway) post(ctx context.Context, f Forge, o order, cred gateway.Credential) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var body []byte
	if len(o.Body) > 0 {
		body = o.Body
	}
	res, secret, err := f.send(ctx, outgoing{method: o.Method, path: o.Path, query: o.Query, body: body, apply: cred.Apply})
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(&guard{r: res.Body, left: maxObserved, secrets: secret})
	if err != nil {
		return 0, nil, nil, err
	}
	return res.StatusCode, res.Header, text, nil
}

// unclear is a write without an answer that says what became of it.
func (g *Gateway) unclear(w http.ResponseWriter, err error) gateway.Result {
	e := gateway.AsError(remit.UpstreamDown, err)
	if errors.Is(err, errUnsent) || errors.Is(err, errAnswered) {
		return g.not(w, e)
	}
	e = &remit.Error{Code: e.Code, Sentence: "nobody can tell whether it was applied; look at the forge before asking again. " + e.Sentence, Err: e.Err}
	res := g.not(w, e)
	res.Outcome = remit.Ambiguous
	return res
}

// codeOf is the registry's code for a status with which the forge refuses.
func codeOf(status int) remit.Code {
	switch status {
	case http.StatusNotFound:
		return remit.NotFound
	case http.StatusForbidden:
		return remit.Forbidden
	case http.StatusConflict, http.StatusMethodNotAllowed, http.StatusPreconditionFailed:
		return remit.Conflict
	}
	return remit.BadRequest
}

// unmoved looks whether a verdict is still about the head.
func (g *Gateway) unmoved(ctx context.Context, f Forge, o order) error {
	var p pullNow
	if err := g.observe(ctx, f, repoOf(o.Path)+"/pulls/"+itoa(o.Bind.Pull), &p); err != nil {
		return err
	}
	if p.Head.SHA != o.Bind.Head || "refs/heads/"+p.Base.Ref != o.Bind.Ref {
		return remit.Errorf(remit.Stale, "pull request %d is not what was reviewed: its head was %s and is %.64s", p.Number, o.Bind.Head, p.Head.SHA)
	}
	return nil
}

// carry has the git gateway push, and answers as the forge's API would.
func (g *Gateway) carry(ctx context.Context, f Forge, o remit.Order, ord order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	o.Body = ord.Push
	res := g.Git.Forward(ctx, o, cred, nil)
	if w == nil {
		return res
	}
	if res.Outcome != remit.Done {
		code := res.Code
		if code == "" {
			code = remit.UpstreamDown
		}
		g.fail(w, remit.Errorf(code, "the change was not applied as asked (%s): %s", res.Outcome, remit.Visible(string(res.Receipt[:min(len(res.Receipt), 1<<10)]))), nil)
		return res
	}
	g.pushed(ctx, w, f, ord, cred)
	return res
}

// Reconcile finds out what became of an attempt whose outcome was never recorded. Of what is not there it says that it
// may come yet.
func (g *Gateway) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	ambiguous := func(e *remit.Error) gateway.Result {
		return gateway.Result{Outcome: remit.Ambiguous, Code: e.Code, Receipt: []byte(e.Sentence)}
	}
	var ord order
	if err := json.Unmarshal(o.Body, &ord); err != nil {
		return ambiguous(remit.Errorf(remit.Internal, "the work order cannot be read: %w", err))
	}
	if ord.Read {
		return gateway.Result{Outcome: remit.NotApplied, Receipt: []byte("a read changes nothing")}
	}
	if ord.Push != nil {
		o.Body = ord.Push
		return g.Git.Reconcile(ctx, o)
	}
	f, err := g.forge(ctx, ord)
	if err != nil {
		return ambiguous(gateway.AsError(remit.Internal, err))
	}
	if ord.Bind != nil && ord.Bind.Review == "" {
		res, err := g.merged(ctx, f, ord)
		if err != nil {
			return ambiguous(gateway.AsError(remit.UpstreamDown, err))
		}
		res.Yet = res.Outcome == remit.NotApplied
		return res
	}
	path := ord.trace()
	if path == "" {
		return ambiguous(remit.Errorf(remit.Conflict, "the forge does not show whether this request or another did it; a person looks"))
	}
	var there json.RawMessage
	switch err := g.observe(ctx, f, path, &there); {
	case isNotFound(err):
		return gateway.Result{Outcome: remit.NotApplied, Yet: true, Receipt: []byte("seen at the forge: it is not there")}
	case err != nil:
		return ambiguous(gateway.AsError(remit.UpstreamDown, err))
	}
	return gateway.Result{Outcome: remit.Done, Receipt: receipt{Said: "seen at the forge", Answer: there}.encode()}
}

// trace is the path at which what an order makes can be seen, if there is one: no other request makes the same.
func (o order) trace() string {
	var b struct {
		Base, Head string
		Tag        string `json:"tag_name"`
	}
	if o.Method != http.MethodPost || json.Unmarshal(o.Body, &b) != nil {
		return ""
	}
	switch repo := repoOf(o.Path); strings.TrimPrefix(o.Path, repo) {
	case "/pulls":
		return repo + "/pulls/" + escape(b.Base, true) + "/" + escape(b.Head, true)
	case "/releases":
		return repo + "/releases/tags/" + escape(b.Tag, true)
	}
	return ""
}

// repoOf is /repos/OWNER/NAME of a path.
func repoOf(path string) string {
	parts := strings.SplitN(path, "/", 5)
	return strings.Join(parts[:min(len(parts), 4)], "/")
}
