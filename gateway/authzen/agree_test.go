package authzen_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	core "github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/authzen"
	org "github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// live is a real engine, with what the point has to know of its organisation.
type live struct{ *org.Core }

func (live) Requester(context.Context, remit.Caller) (string, error) { return "mia", nil }
func (live) Tool(context.Context, remit.Caller, string, string, json.RawMessage) ([]remit.Step, *remit.ToolCall, error) {
	return nil, nil, remit.Errorf(remit.UnknownResource, "no tools are declared")
}
func (live) Named(context.Context, remit.Caller, string) ([]remit.Resource, error) { return nil, nil }
func (c live) Foresee(ctx context.Context, r remit.Request) (remit.Decision, error) {
	return c.Engine.Foresee(ctx, r)
}

// decides is an engine as gateways see it.
type decides struct{ *engine.Engine }

func (d decides) Record(ctx context.Context, a remit.Attempt, r gateway.Result) error {
	return d.Engine.Record(ctx, a, r.Outcome, r.Code, r.Receipt, "")
}

func openCore(t testing.TB) live {
	t.Helper()
	c, err := org.OpenCore(t.Context(), org.CoreOptions{Store: &ledgertest.Memory{}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Engine.Close)
	return live{c}
}

// strict is a policy that has something to say about some of what the compiled rules leave open.
var strict = org.Rule{Name: "strict", Says: func(f core.Facts) core.Finding {
	for _, s := range f.Steps {
		switch {
		case s.Action == "source.read" && strings.HasPrefix(string(s.Resource), "repo:mirror/"):
			return core.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"strict.read"}, Sentence: "not from the mirror"}
		case s.Action == "probe.write":
			return core.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"strict.write"}, Sentence: "people look at it", Votes: []remit.Need{{Group: "reviewers", N: 1}}}
		}
	}
	return core.Finding{Verdict: remit.Allow}
}}

// TestThePointDecidesAsEveryGatewayDoes: in random histories, a question that is asked of the point and the request that one
// of Remit's own gateways makes of the same step, by the same caller at the same moment, have the same verdict, code, rules
// and sentence. There is one decision, and two who ask for it.
func TestThePointDecidesAsEveryGatewayDoes(t *testing.T) {
	said := map[string]int{}
	histories := uint64(40)
	if testing.Short() {
		histories = 8
	}
	for seed := range histories {
		c := openCore(t)
		rnd := rand.New(rand.NewPCG(seed, 6))
		pdp := &authzen.Authority{Authz: decides{c.Engine}, House: c}
		var callers []remit.Caller
		var open []remit.ID
		any := func(list ...string) string { return list[rnd.IntN(len(list))] }
		do := func(cmd core.Command) { _, _ = c.Engine.Do(t.Context(), cmd) } // refused or not: the state is what it is
		for range 60 {
			switch rnd.IntN(20) {
			case 0, 1:
				if who, err := c.Task(t.Context(), any("coder", "coder", "canary"), any("mia", "noa")); err == nil {
					callers = append(callers, who)
				}
			case 2:
				if len(callers) > 0 && rnd.IntN(3) == 0 {
					do(&core.EndTask{By: "p-mia", Task: callers[rnd.IntN(len(callers))].Task, Status: remit.TaskCancelled, DropHolds: true})
				}
			case 3:
				do(&core.ChangeAgent{By: "p-mia", Agent: any("coder", "canary"), To: []remit.AgentStatus{remit.AgentSuspended, remit.AgentActive, remit.AgentActive, remit.AgentActive}[rnd.IntN(4)]})
			case 4:
				set := c.Set
				set.Policy = c.Rules.Add([]org.Rule{strict, org.Nothing}[rnd.IntN(2)])
				do(&core.ApplySet{By: "p-ada", Set: set})
			case 5:
				if len(open) > 0 {
					_ = c.Vote(t.Context(), open[rnd.IntN(len(open))], any("rio", "noa"), rnd.IntN(3) > 0)
				}
			case 6:
				c.Clock.Advance(time.Duration(rnd.IntN(40)) * time.Minute)
				if err := c.Engine.Tick(t.Context()); err != nil {
					t.Fatal(err)
				}
			default:
				if len(callers) == 0 {
					continue
				}
				who := callers[max(0, len(callers)-1-rnd.IntN(3))]
				step := remit.Step{Action: remit.Action(any("source.read", "source.read", "probe.read", "probe.write", "probe.privileged", "build.read", "issue.read", "source.push", "deploy.promote", "source.steal")),
					Resource: remit.Resource(any(string(org.App), string(org.App), "repo:mirror/acme/app", "repo:mirror/acme/app", "repo:forge/acme/other", string(org.Canary), string(org.Canary), "pipeline:acme/ci", "environment:payments/production"))}
				typ, id, _ := strings.Cut(string(step.Resource), ":")
				got, err := pdp.Evaluate(t.Context(), who, authzen.Question{Subject: &authzen.Entity{Type: "agent", ID: who.Agent},
					Action: &authzen.Entity{Name: string(step.Action)}, Resource: &authzen.Entity{Type: typ, ID: id}})
				own, errOwn := c.Engine.Authorize(t.Context(), remit.Request{Gateway: "probe", Caller: who, Steps: []remit.Step{step}})
				if err != nil || errOwn != nil {
					t.Fatalf("seed %d, %s: %v, %v", seed, step.Action, err, errOwn)
				}
				if *got.Why.Verdict != own.Verdict || got.Why.Code != own.Code || !slices.Equal(got.Why.Rules, own.Rules) || got.Why.Sentence != own.Sentence || got.Decision != (own.Verdict == remit.Allow) || got.Requestable != (own.Verdict == remit.Hold) {
					t.Errorf("seed %d, %s %s by %s:\nthe point %s %s %v %q\nthe gateway %s %s %v %q", seed, step.Action, step.Resource, who.Task,
						got.Why.Verdict, got.Why.Code, got.Why.Rules, got.Why.Sentence, own.Verdict, own.Code, own.Rules, own.Sentence)
				}
				if own.Access != "" {
					open = append(open, own.Access)
				}
				said[own.Verdict.String()+" "+string(own.Code)]++
			}
		}
	}
	t.Log(said)
	for _, must := range []string{"allow ", "hold POLICY_HELD", "hold IMPACT_HELD", "deny POLICY_DENIED", "deny OUT_OF_SCOPE", "deny UNKNOWN_PRINCIPAL", "deny UNKNOWN_ACTION"} {
		if said[must] == 0 && !testing.Short() {
			t.Errorf("no history came to %q: %v", must, said)
		}
	}
}

// BenchmarkEvaluation is a question through the point (HTTP handler, JSON both ways, token left out) against the engine's own
// decision of the same step, and their ratio.
func BenchmarkEvaluation(b *testing.B) {
	c := openCore(b)
	who, err := c.Task(b.Context(), "canary", "mia")
	if err != nil {
		b.Fatal(err)
	}
	p := &authzen.Point{Authn: bearers{"good": who}, PDP: &authzen.Authority{Authz: decides{c.Engine}, House: c}, Base: base, Now: c.Engine.Now}
	h, err := p.Handler(prefix)
	if err != nil {
		b.Fatal(err)
	}
	const body = `{"subject":{"type":"agent","id":"canary"},"action":{"name":"probe.read"},"resource":{"type":"probe","id":"canary"}}`
	task := func() { // no task has more than its budget of decisions
		if who, err = c.Task(b.Context(), "canary", "mia"); err != nil {
			b.Fatal(err)
		}
		p.Authn = bearers{"good": who}
	}
	direct := func() {
		r := org.Ask(who, "probe.read")
		r.Advice = true
		if d, err := c.Engine.Authorize(b.Context(), r); err != nil || d.Verdict != remit.Allow {
			b.Fatal(d, err)
		}
	}
	point := func() {
		r := httptest.NewRequest(http.MethodPost, prefix+evaluation, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer good")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"decision":true`) {
			b.Fatal(w.Code, w.Body)
		}
	}
	// In turns, so that what else this machine does counts for both.
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		if n++; n%4000 == 0 {
			task()
		}
		for i, f := range []func(){direct, point} {
			began := time.Now()
			f()
			spent[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(spent[0].Nanoseconds())/float64(n), "ns/engine")
	b.ReportMetric(float64(spent[1].Nanoseconds())/float64(n), "ns/point")
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "ratio")
}
