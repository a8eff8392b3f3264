package change_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/change"
)

const (
	head = "0123456789012345678901234567890123456789"
	base = "1123456789012345678901234567890123456789"
	tree = "2123456789012345678901234567890123456789"
	made = "3123456789012345678901234567890123456789"
)

// git makes what it is asked for, and carries it out as a test says.
type git struct {
	gateway.Probe // answers that no test looks at
	asked         []gateway.Making
	kept          bool
	err           error
	sent          []remit.Order
	outcome       gateway.Result
}

func (g *git) made() gateway.Made {
	return gateway.Made{Ref: remit.RefChange{Ref: "refs/heads/main", Op: remit.RefUpdate, Old: base, New: made, Tree: tree, Commits: 1},
		New: made, Order: []byte("push order"), Card: remit.Payload{Body: []byte("diff")}, Bytes: 7}
}

func (g *git) Make(_ context.Context, m gateway.Making) (gateway.Made, error) {
	g.asked, g.kept = append(g.asked, m), true
	return g.made(), g.err
}

func (g *git) Merge(_ context.Context, m gateway.Making) (gateway.Made, error) {
	g.asked = append(g.asked, m)
	v := g.made()
	v.Ref.New, v.New = m.Merge, ""
	return v, g.err
}

func (*git) Drop(context.Context, remit.Digest) error { return nil }

func (g *git) Forward(_ context.Context, o remit.Order, _ gateway.Credential, w http.ResponseWriter) gateway.Result {
	if w != nil {
		panic("the answer is the gateway's own")
	}
	g.sent = append(g.sent, o)
	return g.outcome
}

func (g *git) Reconcile(_ context.Context, o remit.Order) gateway.Result {
	g.sent = append(g.sent, o)
	return g.outcome
}

func house() (*change.Gateway, *git) {
	g := &git{outcome: gateway.Result{Outcome: remit.Done}}
	return &change.Gateway{Git: g, Push: g, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}, g
}

func post(verb, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/change/"+verb, strings.NewReader(body))
}

var caller = remit.Caller{Instance: "I-3", Agent: "merger", Task: "T-2"}

func TestAMergeIsMadeJudgedAndPushed(t *testing.T) {
	c, g := house()
	req, payloads, err := c.Classify(t.Context(), caller, post("merge", `{"repo":"forge/app","head":"`+head+`","into":"main"}`))
	if err != nil {
		t.Fatal(err)
	}
	m := g.asked[0]
	if m.Repo != "forge/app" || m.Ref != "refs/heads/main" || m.Merge != head || m.Name != "merger (T-2)" || m.Email != "T-2@remit.invalid" || !strings.Contains(m.Message, "Remit-Task: T-2") || !m.When.Equal(time.Unix(1_800_000_000, 0)) {
		t.Fatalf("%+v", m)
	}
	if len(req.Steps) != 1 || req.Steps[0].Action != "source.merge" || req.Steps[0].Resource != "repo:forge/app" || req.Refs[0].New != head || req.Refs[0].Tree != tree ||
		req.Refs[0].Old != base || req.Bytes != 7 || req.Card != payloads[0].Commitment() || req.Review != "" {
		t.Fatalf("%+v", req)
	}
	if string(change.PushOf(req.Order)) != "push order" {
		t.Fatal("the pack of the order cannot be found")
	}
	w := httptest.NewRecorder()
	res := c.Forward(t.Context(), remit.Order{Caller: caller, Body: req.Order, Attempt: "X-1"}, nil, w)
	if res.Outcome != remit.Done || res.Made != made || string(g.sent[0].Body) != "push order" || w.Code != 201 || !strings.Contains(w.Body.String(), made) {
		t.Fatalf("%+v %d %s", res, w.Code, w.Body)
	}
	if res := c.Forward(t.Context(), remit.Order{Body: req.Order}, nil, nil); res.Made != made {
		t.Fatalf("by an executor: %+v", res)
	}
	if res := c.Reconcile(t.Context(), remit.Order{Body: req.Order}); res.Outcome != remit.Done || res.Made != made {
		t.Fatalf("%+v", res)
	}
	g.outcome = gateway.Result{Outcome: remit.NotApplied, Code: remit.Stale, Receipt: []byte("the branch moved\xff")}
	w = httptest.NewRecorder()
	res = c.Forward(t.Context(), remit.Order{Body: req.Order}, nil, w)
	if res.Outcome != remit.NotApplied || res.Made != "" || w.Code != 409 || !strings.Contains(w.Body.String(), "the branch moved?") {
		t.Fatalf("%+v %d %s", res, w.Code, w.Body)
	}
}

func TestAVerdictIsBoundToWhatAMergeWouldDo(t *testing.T) {
	c, g := house()
	req, _, err := c.Classify(t.Context(), caller, post("review", `{"repo":"forge/app","head":"`+head+`","verdict":"approve","text":"fine"}`))
	if err != nil {
		t.Fatal(err)
	}
	if g.kept || g.asked[0].Ref != "" || req.Steps[0].Action != "review.submit" || req.Review != "approve" || req.Refs[0].New != head || change.PushOf(req.Order) != nil {
		t.Fatalf("%+v %+v", g, req)
	}
	w := httptest.NewRecorder()
	res := c.Forward(t.Context(), remit.Order{Body: req.Order}, nil, w)
	var said map[string]string
	if err := json.Unmarshal(res.Receipt, &said); err != nil || res.Outcome != remit.Done || len(g.sent) != 0 || w.Code != 201 {
		t.Fatalf("%+v %v %d", res, err, w.Code)
	}
	for k, v := range map[string]string{"repo": "forge/app", "into": "refs/heads/main", "base": base, "head": head, "tree": tree, "diff": "sha256:" + remit.DiffDigest(nil).String(), "verdict": "approve", "text": "fine"} {
		if said[k] != v {
			t.Errorf("the statement says %s is %q, not %q", k, said[k], v)
		}
	}
	if res := c.Reconcile(t.Context(), remit.Order{Body: req.Order}); res.Outcome != remit.NotApplied {
		t.Fatalf("a verdict that was not recorded is none: %+v", res)
	}
}

func TestWhatIsNoChangeIsRefused(t *testing.T) {
	long := strings.Repeat("x", 9<<10)
	for _, k := range []struct {
		name string
		r    *http.Request
		code remit.Code
	}{
		{"another verb", post("push", `{}`), remit.BadRequest},
		{"a GET", httptest.NewRequest(http.MethodGet, "/v1/orgs/acme/change/merge", nil), remit.BadRequest},
		{"no JSON", post("merge", `repo`), remit.BadRequest},
		{"an unknown member", post("merge", `{"repo":"forge/app","head":"`+head+`","force":true}`), remit.BadRequest},
		{"a large body", post("merge", `{"repo":"forge/app","head":"`+head+`"`+strings.Repeat(" ", change.MaxBody)+`}`), remit.BadRequest},
		{"no repository", post("merge", `{"repo":"","head":"`+head+`"}`), remit.UnknownResource},
		{"a branch as head", post("merge", `{"repo":"forge/app","head":"main"}`), remit.BadRequest},
		{"a short head", post("merge", `{"repo":"forge/app","head":"0123456"}`), remit.BadRequest},
		{"a merge with a verdict", post("merge", `{"repo":"forge/app","head":"`+head+`","verdict":"approve"}`), remit.BadRequest},
		{"no verdict", post("review", `{"repo":"forge/app","head":"`+head+`"}`), remit.BadRequest},
		{"another verdict", post("review", `{"repo":"forge/app","head":"`+head+`","verdict":"lgtm"}`), remit.BadRequest},
		{"a long text", post("review", `{"repo":"forge/app","head":"`+head+`","verdict":"reject","text":"`+long+`"}`), remit.BadRequest},
	} {
		t.Run(k.name, func(t *testing.T) {
			c, g := house()
			_, _, err := c.Classify(t.Context(), caller, k.r)
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != k.code || len(g.asked) > 0 {
				t.Fatalf("got %v, want %s", err, k.code)
			}
		})
	}
	c, g := house()
	g.err = remit.Errorf(remit.Conflict, "README.md conflicts")
	for verb, body := range map[string]string{"merge": "", "review": `,"verdict":"approve"`} {
		if _, _, err := c.Classify(t.Context(), caller, post(verb, `{"repo":"forge/app","head":"`+head+`"`+body+`}`)); err != g.err {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestAStoredOrderThatCannotBeReadIsNotCarriedOut(t *testing.T) {
	c, g := house()
	if res := c.Forward(t.Context(), remit.Order{Body: []byte("x")}, nil, nil); res.Outcome != remit.NotApplied || len(g.sent) > 0 {
		t.Fatalf("%+v", res)
	}
	if res := c.Reconcile(t.Context(), remit.Order{Body: []byte("x")}); res.Outcome != remit.Ambiguous {
		t.Fatalf("%+v", res)
	}
}

func TestADecisionIsAnswered(t *testing.T) {
	c, _ := house()
	w := httptest.NewRecorder()
	c.Refuse(w, nil, remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-1"})
	if w.Code != 409 || !strings.Contains(w.Body.String(), `"access":"A-1"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	c.Fail(w, nil, remit.Errorf(remit.Stale, "moved"))
	if w.Code != 409 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d", w.Code)
	}
}
