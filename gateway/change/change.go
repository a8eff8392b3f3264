// Package change is the gateway at which agents review and merge changes of a repository whose upstream is plain git: the
// verdict on a branch, and its merge into another one, which a forge has an API of its own for. What a merge would do is
// computed from the objects, as for a push; Remit makes the merge commit itself, so what people approve is what is
// pushed, and the branch's old value is the compare-and-swap.
//
//	POST …/change/review   {repo, head, into, verdict: approve|reject, text}   review.submit
//	POST …/change/merge    {repo, head, into}                                  source.merge
package change

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "change"

// MaxBody bounds a request, in bytes.
const MaxBody = 16 << 10

// maxText is the longest comment of a verdict, in bytes.
const maxText = 8 << 10

// Git makes and judges changes of refs; the git gateway does.
type Git interface {
	// Make prepares a change as if it had been pushed; Drop lets it go.
	Make(context.Context, gateway.Making) (gateway.Made, error)
	// Merge says what a merge would do, and keeps nothing.
	Merge(context.Context, gateway.Making) (gateway.Made, error)
	Drop(context.Context, remit.Digest) error
}

// Gateway is the protocol. Push carries what Git made upstream.
type Gateway struct {
	Git  Git
	Push gateway.Protocol
	Now  func() time.Time
}

// order is what is carried out: a push that was made, or a verdict.
type order struct {
	Push []byte `json:"push,omitempty"` // the git gateway's own order; empty: a verdict, which is carried out by being recorded
	New  string `json:"new,omitempty"`  // the merge commit
	// Verdict is the statement that is recorded.
	Verdict *verdict `json:"verdict,omitempty"`
}

// verdict is what a reviewer says, of exactly what.
type verdict struct {
	Repo    string `json:"repo"`
	Into    string `json:"into"` // ref in full
	Base    string `json:"base"` // its value
	Head    string `json:"head"`
	Tree    string `json:"tree"` // that merging gives
	Diff    string `json:"diff"` // sha256 of what merging changes, remit.DiffDigest
	Verdict string `json:"verdict"`
	Text    string `json:"text,omitempty"`
}

// PushOf is the git gateway's order within one of this gateway.
func PushOf(ord []byte) []byte {
	var o order
	if err := json.Unmarshal(ord, &o); err != nil {
		return nil
	}
	return o.Push
}

// Classify reads what is to be reviewed or merged, and looks what that would do.
func (g *Gateway) Classify(ctx context.Context, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	verb := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if r.Method != http.MethodPost || verb != "review" && verb != "merge" {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "say POST …/change/review or …/change/merge")
	}
	var in remit.ChangeRequest
	if err := remit.DecodeStrict(r.Body, MaxBody, &in); err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request cannot be read: %w", err)
	}
	res, err := remit.ParseResource("repo:" + in.Repo)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.UnknownResource, "repo: %w", err)
	}
	if err := (remit.Input{Resource: res, ID: in.Head}).Check(); err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "head is the commit itself, in full: %w", err)
	}
	into := in.Into
	if into != "" && !strings.HasPrefix(into, "refs/") {
		into = "refs/heads/" + into
	}
	m := gateway.Making{Repo: in.Repo, Ref: into, Merge: in.Head, When: g.Now(),
		Name: c.Agent + " (" + string(c.Task) + ")", Email: string(c.Task) + "@remit.invalid", // as of commits that are made through a forge's API
		Message: "Merge " + in.Head + "\n\nRemit-Task: " + string(c.Task) + "\n"}
	req := remit.Request{Gateway: Name, Caller: c, Steps: []remit.Step{{Action: "source.merge", Resource: res}}}
	var made gateway.Made
	var o order
	if verb == "merge" {
		if in.Verdict != "" || in.Text != "" {
			return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "a merge has no verdict; say POST …/change/review")
		}
		if made, err = g.Git.Make(ctx, m); err != nil {
			return remit.Request{}, nil, err
		}
		o = order{Push: made.Order, New: made.New}
		made.Ref.New = in.Head // what was reviewed; the commit of the merge is Remit's own
	} else {
		if in.Verdict != remit.ReviewApprove && in.Verdict != remit.ReviewReject || len(in.Text) > maxText {
			return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "verdict is approve or reject, with a text of at most %d bytes", maxText)
		}
		if made, err = g.Git.Merge(ctx, m); err != nil {
			return remit.Request{}, nil, err
		}
		req.Steps[0].Action, req.Review = "review.submit", in.Verdict
		o.Verdict = &verdict{in.Repo, made.Ref.Ref, made.Ref.Old, in.Head, made.Ref.Tree, "sha256:" + remit.DiffDigest(made.Ref.Paths).String(), in.Verdict, in.Text}
	}
	if req.Order, err = json.Marshal(o); err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request cannot be stored: %w", err)
	}
	req.Refs, req.Bytes, req.Card = []remit.RefChange{made.Ref}, made.Bytes, made.Card.Commitment()
	return req, []remit.Payload{made.Card}, nil
}

// Forward pushes the merge that was made, or records the verdict: its receipt is the statement.
func (g *Gateway) Forward(ctx context.Context, ord remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	var o order
	if err := remit.DecodeStrict(bytes.NewReader(ord.Body), 64<<10, &o); err != nil {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal, Receipt: []byte("the stored request cannot be read")}
	}
	if o.Verdict != nil {
		receipt, err := json.Marshal(o.Verdict)
		if err != nil {
			return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
		}
		answer(w, http.StatusCreated, remit.ChangeAnswer{Verdict: o.Verdict.Verdict, Head: o.Verdict.Head, Tree: o.Verdict.Tree})
		return gateway.Result{Outcome: remit.Done, Receipt: receipt}
	}
	ord.Body = o.Push
	res := g.made(o, g.Push.Forward(ctx, ord, cred, nil))
	if w != nil && res.Outcome != remit.Done {
		fail(w, remit.Errorf(codeOf(res), "the merge was not done (%s): %s", res.Outcome, bytes.ToValidUTF8(res.Receipt, []byte("?"))))
		return res
	}
	answer(w, http.StatusCreated, remit.ChangeAnswer{Commit: o.New})
	return res
}

func codeOf(r gateway.Result) remit.Code {
	if r.Code == "" {
		return remit.UpstreamDown
	}
	return r.Code
}

func (g *Gateway) made(o order, r gateway.Result) gateway.Result {
	if r.Outcome == remit.Done {
		r.Made = o.New
	}
	return r
}

// Refuse answers with the decision.
func (*Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	answer(w, d.Code.Info().HTTP, remit.ChangeAnswer{Decision: &d})
}

// Fail answers with the problem.
func (*Gateway) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) { fail(w, e) }

// Reconcile asks the upstream whether the merge is there. A verdict is there once it is recorded.
func (g *Gateway) Reconcile(ctx context.Context, ord remit.Order) gateway.Result {
	var o order
	if err := json.Unmarshal(ord.Body, &o); err != nil {
		return gateway.Result{Outcome: remit.Ambiguous}
	}
	if o.Verdict != nil {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
	}
	ord.Body = o.Push
	return g.made(o, g.Push.Reconcile(ctx, ord))
}

func fail(w http.ResponseWriter, e *remit.Error) {
	i := e.Code.Info()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(i.HTTP)
	_ = json.NewEncoder(w).Encode(remit.Problem{Code: e.Code, Title: i.Meaning, Detail: e.Sentence, Status: i.HTTP})
}

func answer(w http.ResponseWriter, status int, v any) {
	if w == nil {
		return // Remit itself completes an approved order
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: there is nobody to tell
}
