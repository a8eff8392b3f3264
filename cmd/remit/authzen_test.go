package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/authzen"
	orgs "github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// corner is a core with a decision point before it, for one caller.
type corner struct {
	t      *testing.T
	c      *orgs.Core
	f      *foreign
	h      http.Handler
	caller remit.Caller
}

type links struct{}

func (links) Wait(context.Context, remit.ID) (remit.AccessStatus, string, error) {
	return "", "", errors.New("nobody waits")
}
func (links) URL(id remit.ID) string { return "https://remit.example/approve/" + string(id) }

var cornerKey = func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}()

func openCorner(t *testing.T, o orgs.CoreOptions, caller remit.Caller) *corner {
	t.Helper()
	c, err := orgs.OpenCore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Engine.Close)
	if caller.Task == "" {
		if caller, err = c.Task(t.Context(), "canary", "mia"); err != nil {
			t.Fatal(err)
		}
	}
	authz := authorizer{c.Engine}
	f := &foreign{engine: c.Engine, holds: links{}, log: slog.New(slog.DiscardHandler),
		pipeline: &gateway.Pipeline{Authz: authz, Creds: untouched{c.Engine}, Log: slog.New(slog.DiscardHandler)}}
	f.asks = &authzen.Authority{Authz: authz, House: f}
	f.Point = &authzen.Point{Authn: already(caller), PDP: f.asks, Desk: f, Base: "https://remit.example/authzen", Key: cornerKey, Now: c.Engine.Now}
	h, err := f.Handler("/authzen")
	if err != nil {
		t.Fatal(err)
	}
	return &corner{t, c, f, h, caller}
}

func (k *corner) post(path string, body any) (out map[string]any) {
	k.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		k.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/authzen"+path, strings.NewReader(string(b)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		k.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return out
}

func (k *corner) get(url string) (out map[string]any) {
	k.t.Helper()
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, strings.TrimPrefix(url, "https://remit.example"), nil))
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		k.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return out
}

// of is a member of a member.
func of(m map[string]any, path ...string) any {
	var v any = m
	for _, name := range path {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

func probe(action string) map[string]any {
	return map[string]any{"subject": map[string]any{"type": "agent", "id": "canary"}, "action": map[string]any{"name": action}, "resource": map[string]any{"type": "probe", "id": "canary"}}
}

// approved asks people for a privileged probe, has them approve, and gives the request and the question that carries the
// approval.
func (k *corner) approved() (access remit.ID, question map[string]any) {
	k.t.Helper()
	no := k.post("/access/v1/evaluation", probe("probe.privileged"))
	m := probe("probe.privileged")
	m["denial"] = map[string]any{"binding_token": of(no, "context", "access_request", "binding_token"), "expires_at": of(no, "context", "access_request", "expires_at")}
	task := k.post("/access/v1/requests", m)
	ticket, _ := of(task, "task", "links", "ticket").(string)
	access = remit.ID(ticket[strings.LastIndexByte(ticket, '/')+1:])
	if err := k.c.Vote(k.t.Context(), access, "bob", true); err != nil {
		k.t.Fatalf("%v: %v", task, err)
	}
	endpoint, _ := of(task, "task", "status_endpoint").(string)
	done := k.get(endpoint)
	if of(done, "task", "status") != "approved" {
		k.t.Fatalf("%v", done)
	}
	question = probe("probe.privileged")
	question["context"] = map[string]any{"approval": of(done, "result", "approval")}
	return access, question
}

// TestAnApprovalIsSpentOnce: however many ask at one time, one is told yes. Executors never carry it out.
func TestAnApprovalIsSpentOnce(t *testing.T) {
	k := openCorner(t, orgs.CoreOptions{Store: &ledgertest.Memory{}}, remit.Caller{})
	access, question := k.approved()
	for _, name := range []string{executor.Source, executor.Build, executor.Production} {
		z := orders{k.c.Engine}.of(name)
		if _, _, err := z.Claim(t.Context(), access); gateway.AsError(remit.Internal, err).Code != remit.NotFound {
			t.Errorf("%s claims it: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if id, err := z.Next(ctx, nil); err == nil {
			t.Errorf("%s is given %s", name, id)
		}
		cancel()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	yes := 0
	for range 16 {
		all.Go(func() {
			if a := k.post("/access/v1/evaluation", question); a["decision"] == true {
				mu.Lock()
				defer mu.Unlock()
				yes++
			}
		})
	}
	all.Wait()
	if yes != 1 {
		t.Errorf("%d were told yes", yes)
	}
	k.c.Engine.View(func(s *authority.State) {
		if a := s.Accesses[access]; a.Status != remit.AccessUsed || a.Outcome != remit.Done || len(s.Attempts) != 0 {
			t.Errorf("%s %s, %d attempts are open", a.Status, a.Outcome, len(s.Attempts))
		}
	})
}

// TestHereAndElsewhereAreTwo: what people approve for an enforcement point is not good at a gateway of Remit's, and the
// other way round, though the steps are the same.
func TestHereAndElsewhereAreTwo(t *testing.T) {
	k := openCorner(t, orgs.CoreOptions{Store: &ledgertest.Memory{}}, remit.Caller{})
	access, question := k.approved()
	r := orgs.Ask(k.caller, "probe.privileged")
	here, err := k.c.Engine.Authorize(t.Context(), r)
	if err != nil || here.Verdict != remit.Hold || here.Access == access {
		t.Fatalf("%+v %v", here, err)
	}
	if err := k.c.Vote(t.Context(), here.Access, "bob", true); err != nil {
		t.Fatal(err)
	}
	if id, err := (orders{k.c.Engine}).Next(t.Context(), nil); err != nil || id != here.Access {
		t.Errorf("the executor is given %s (%v)", id, err)
	}
	if _, err := k.f.Look(t.Context(), k.caller, here.Access); gateway.AsError(remit.Internal, err).Code != remit.NotFound {
		t.Errorf("the decision point knows of what a gateway holds: %v", err)
	}
	r.Access, r.Caller, r.Elsewhere = access, remit.Caller{Task: k.caller.Task, Executor: executor.Source}, false
	if d, err := k.c.Engine.Authorize(t.Context(), r); err != nil || d.Verdict != remit.Deny || d.Code != remit.Stale {
		t.Errorf("the approval for elsewhere is claimed here: %+v %v", d, err)
	}
	if a := k.post("/access/v1/evaluation", question); a["decision"] != false { // a claim of something else ended it
		t.Errorf("%v", a)
	}
}

// TestAnApprovalOutlivesTheProcess: what was approved before a restart is good after it, and a retry with the same key or
// the same token finds its task.
func TestAnApprovalOutlivesTheProcess(t *testing.T) {
	store, clock, rules := &ledgertest.Memory{}, orgs.NewClock(), orgs.NewRules()
	k := openCorner(t, orgs.CoreOptions{Store: store, Clock: clock, Rules: rules}, remit.Caller{})
	access, question := k.approved()
	k.c.Engine.Close()
	again := openCorner(t, orgs.CoreOptions{Store: store, Clock: clock, Rules: rules}, k.caller)
	held, err := again.f.Of(t.Context(), k.caller)
	if err != nil || len(held) != 1 || held[0].Access != access || held[0].Approved.IsZero() {
		t.Fatalf("%+v %v", held, err)
	}
	if a := again.post("/access/v1/evaluation", question); a["decision"] != true {
		t.Errorf("%v", a)
	}
	if a := again.post("/access/v1/evaluation", question); a["decision"] != false || of(a, "context", "reason") != "approval_expired" {
		t.Errorf("%v", a)
	}
}

// TestPolicyOfNowDecides: between the votes and the question that carries them, the policy changes.
func TestPolicyOfNowDecides(t *testing.T) {
	for _, x := range []struct {
		name         string
		says         authority.Finding
		reason, next string
		then         remit.AccessStatus
	}{
		{"it denies", authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"frozen"}, Sentence: "nothing on Fridays"}, "policy_denied", "none", remit.AccessVoid},
		{"it asks for others", authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"more"}, Votes: []remit.Need{{Group: "reviewers", N: 1}}}, "grant_pending", "retry", remit.AccessOpen},
	} {
		t.Run(x.name, func(t *testing.T) {
			k := openCorner(t, orgs.CoreOptions{Store: &ledgertest.Memory{}}, remit.Caller{})
			access, question := k.approved()
			k.c.Clock.Advance(time.Minute)
			set := k.c.Set
			set.Policy = k.c.Rules.Add(orgs.Rule{Name: "now", Says: func(f authority.Facts) authority.Finding { return x.says }})
			res, err := k.c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: set})
			if err == nil && res.Decision.Verdict == remit.Hold {
				if err = k.c.Vote(t.Context(), res.Decision.Access, "bob", true); err == nil {
					_, err = k.c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access})
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			a := k.post("/access/v1/evaluation", question)
			if a["decision"] != false || of(a, "context", "reason") != x.reason || of(a, "context", "next_action") != x.next {
				t.Errorf("%v", a)
			}
			k.c.Engine.View(func(s *authority.State) {
				if got := s.Accesses[access].Status; got != x.then {
					t.Errorf("it is %s", got)
				}
			})
		})
	}
}

// TestWhatIsForeseenIsDecidedSo: a search says what an evaluation says, and writes nothing.
func TestWhatIsForeseenIsDecidedSo(t *testing.T) {
	store := &ledgertest.Memory{}
	k := openCorner(t, orgs.CoreOptions{Store: store}, remit.Caller{})
	size := func() ledger.Head {
		h, err := store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, action := range []remit.Action{"probe.read", "probe.write", "probe.privileged", "probe.nonsense", "source.read"} {
		r := orgs.Ask(k.caller, action)
		before := size()
		seen, err := k.c.Engine.Foresee(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if size() != before {
			t.Errorf("%s: an entry was written", action)
		}
		r.Advice = true
		d, err := k.c.Engine.Authorize(t.Context(), r)
		if err != nil || d.Verdict != seen.Verdict || d.Code != seen.Code || seen.Permit.ID != "" || seen.Access != "" {
			t.Errorf("%s: foreseen %+v, decided %+v (%v)", action, seen, d, err)
		}
	}
	found := k.post("/access/v1/search/action", map[string]any{"subject": probe("x")["subject"], "resource": probe("x")["resource"]})
	b, err := json.Marshal(found["results"])
	if err != nil || string(b) != `[{"name":"probe.read"},{"name":"probe.write"}]` {
		t.Errorf("%s %v", b, err)
	}
}
