package authority_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func pin(name string) remit.Digest { return remit.Hash([]byte("definition of " + name)) }

// rule is a step that a tool's call is besides; when is written ARGUMENT=VALUE.
func rule(action remit.Action, resource string, when ...string) remit.ToolRule {
	r := remit.ToolRule{Action: action, Resource: resource}
	for _, w := range when {
		name, value, _ := strings.Cut(w, "=")
		r.When = append(r.When, remit.ToolWhen{Argument: name, Value: value})
	}
	return r
}

const ourRepo = "repo:forge/acme/{repo}"

// withTools declares two servers, one in zone S and one in P, and two agents that use them.
func withTools(s *authority.Set) {
	s.Upstreams = append(slices.Clone(s.Upstreams), remit.UpstreamDeclared{Name: "github", Type: remit.KindMCP, Spec: remit.Hash([]byte("github"))},
		remit.UpstreamDeclared{Name: "kube", Type: remit.KindMCP, Spec: remit.Hash([]byte("kube"))})
	tool := func(name string, zone remit.Zone, i remit.Impact, steps ...remit.ToolRule) remit.ToolDeclared {
		t := remit.ToolDeclared{Name: name, Zone: zone, Impact: i, Steps: steps}
		if !strings.HasSuffix(name, "*") && !strings.Contains(name, "/-/") {
			t.Pin = pin(name)
		}
		return t
	}
	S, P := remit.ZoneSource, remit.ZoneProduction
	s.Tools = []remit.ToolDeclared{
		tool("github/get", S, remit.Read, rule("issue.read", ourRepo)),
		tool("github/comment", S, remit.Write, rule("issue.comment", ourRepo)),
		tool("github/edit", S, remit.Write, rule("issue.write", ourRepo, "method=update"), rule("issue.comment", ourRepo, "method=comment")),
		tool("github/move", S, remit.Write, rule("issue.read", "repo:forge/acme/{from}"), rule("issue.write", "repo:forge/acme/{to}")),
		tool("github/ci", S, remit.Read, rule("build.read", "pipeline:payments/{name}")),
		tool("github/force", S, remit.Privileged),
		tool("github/-/resources/*", S, remit.Read),
		tool("github/-/prompts/**", S, remit.Write),
		tool("kube/get", P, remit.Read),
		tool("kube/apply", P, remit.Write),
		{Name: "local/web", Taints: []string{"web-page"}, Approvers: []remit.Need{{Group: "reviewers", N: 1}}},
	}
	s.Tools[0].Taints, s.Tools[4].Taints = []string{"page"}, []string{"log", "web-page"}
	s.Tools[5].Approvers = []remit.Need{{Group: "release", N: 1}}
	s.Agents = append(slices.Clone(s.Agents),
		remit.AgentDeclared{Name: "handy", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"tool.read", "tool.write", "tool.run", "tool.call"}, Resources: []remit.Pattern{"tool:github/**", "tool:local/**"}},
			{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:kube/get"}},
			{Actions: []remit.Action{"issue.read", "issue.comment", "issue.write", "review.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/*"}},
			{Actions: []remit.Action{"build.read"}, Resources: []remit.Pattern{"pipeline:payments/ci"}}}},
		remit.AgentDeclared{Name: "hand2", Function: remit.FuncCode, Owner: "p-ada", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:github/get"}},
			{Actions: []remit.Action{"issue.read"}, Resources: []remit.Pattern{"repo:forge/acme/*"}}}},
		remit.AgentDeclared{Name: "operator", Function: remit.FuncOperate, Owner: "p-ada", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"tool.read", "tool.write", "tool.call"}, Resources: []remit.Pattern{"tool:kube/**"}}}})
}

// use is what the gateway of MCP asks for a call of a tool: action on tool:NAME, and the further steps.
func use(c caller, action remit.Action, name, arguments string, more ...remit.Step) remit.Request {
	server, tool, _ := strings.Cut(name, "/")
	t := &remit.ToolCall{Server: server, Name: tool, Method: "tools/call", Arguments: json.RawMessage(arguments)}
	if server != remit.LocalTools {
		t.Pin = pin(name)
	} else {
		t.Method, t.Host = "", "claude-code"
	}
	st := remit.Step{Action: action, Resource: remit.Resource("tool:" + name), Args: remit.ToolDigest(t.Method, t.Arguments)}
	return remit.Request{Gateway: "mcp", Caller: c, Steps: append([]remit.Step{st}, more...), Tool: t, Order: []byte("order")}
}

func on(action remit.Action, r remit.Resource) remit.Step {
	return remit.Step{Action: action, Resource: r}
}

func TestACallOfAToolIsJudgedByWhatIsDeclaredOfIt(t *testing.T) {
	get, comment := on("issue.read", payments), on("issue.comment", payments)
	for _, r := range []struct {
		name  string
		ask   func(caller) remit.Request
		code  remit.Code // empty: it is allowed
		words string
	}{
		{"as declared", func(c caller) remit.Request { return use(c, "tool.read", "github/get", `{"repo":"payments"}`, get) }, "", ""},
		{"a step is left out", func(c caller) remit.Request { return use(c, "tool.read", "github/get", `{}`) }, remit.ToolMisjudged, "[issue.read on repo:forge/acme/{repo}]"},
		{"a step is another one", func(c caller) remit.Request { return use(c, "tool.read", "github/get", `{}`, comment) }, remit.ToolMisjudged, "not what is declared"},
		{"a step is on what the template cannot become", func(c caller) remit.Request {
			return use(c, "tool.read", "github/get", `{}`, on("issue.read", "repo:forge/acme/payments/x"))
		}, remit.ToolMisjudged, "not what is declared"},
		{"a step too many", func(c caller) remit.Request { return use(c, "tool.read", "github/get", `{}`, get, comment) }, remit.ToolMisjudged, ""},
		{"less than declared", func(c caller) remit.Request { return use(c, "tool.read", "github/comment", `{}`, comment) }, remit.ToolMisjudged, "which is tool.write"},
		{"a privileged one as a write", func(c caller) remit.Request { return use(c, "tool.write", "github/force", `{}`) }, remit.ToolMisjudged, "which is tool.call"},
		{"more than declared", func(c caller) remit.Request { return use(c, "tool.write", "github/get", `{}`, get) }, "", ""},
		{"tool.run is for local tools", func(c caller) remit.Request { return use(c, "tool.run", "github/comment", `{}`, comment) }, remit.ToolMisjudged, ""},
		{"one of two conditions", func(c caller) remit.Request {
			return use(c, "tool.write", "github/edit", `{"method":"comment"}`, comment)
		}, "", ""},
		{"no condition is met", func(c caller) remit.Request { return use(c, "tool.write", "github/edit", `{}`) }, remit.ToolMisjudged, "that is tool.call"},
		{"in another order", func(c caller) remit.Request {
			return use(c, "tool.write", "github/move", `{}`, on("issue.write", docs), get)
		}, remit.ToolMisjudged, ""},
		{"two templates", func(c caller) remit.Request {
			return use(c, "tool.write", "github/move", `{}`, get, on("issue.write", docs))
		}, "", ""},
		{"reading another zone besides", func(c caller) remit.Request {
			return use(c, "tool.read", "github/ci", `{}`, on("build.read", "pipeline:payments/ci"))
		}, "", ""},
		{"a further step is out of scope", func(c caller) remit.Request {
			return use(c, "tool.read", "github/ci", `{}`, on("build.read", "pipeline:payments/lint"))
		}, remit.OutOfScope, ""},
		{"a resource of the server", func(c caller) remit.Request { return use(c, "tool.read", "github/-/resources/x%3A%2F%2Fy", `{}`) }, "", ""},
		{"what is not declared is privileged", func(c caller) remit.Request { return use(c, "tool.read", "github/new", `{}`) }, remit.ToolMisjudged, "which is tool.call"},
		{"and lies in production", func(c caller) remit.Request { return use(c, "tool.call", "github/new", `{}`) }, remit.CrossesBoundary, "in zone P"},
		{"a further segment is not the pattern's", func(c caller) remit.Request { return use(c, "tool.read", "github/-/resources/a/b", `{}`) }, remit.ToolMisjudged, "which is tool.call"},
		{"the rest of a path is", func(c caller) remit.Request { return use(c, "tool.write", "github/-/prompts/a/b", `{}`) }, "", ""},
		{"reading in production", func(c caller) remit.Request { return use(c, "tool.read", "kube/get", `{}`) }, "", ""},
		{"changing production", func(c caller) remit.Request { return use(c, "tool.write", "kube/apply", `{}`) }, remit.OutOfScope, ""},
		{"no such server", func(c caller) remit.Request { return use(c, "tool.read", "nowhere/get", `{}`) }, remit.UnknownResource, "no server of tools \"nowhere\""},
		{"an upstream that has no tools", func(c caller) remit.Request { return use(c, "tool.read", "forge/get", `{}`) }, remit.UnknownResource, ""},
		{"what the server has", func(c caller) remit.Request { return use(c, "tool.list", "github/-", ``) }, "", ""},
		{"what a server has of which nothing is granted", func(c caller) remit.Request {
			c.Agent = "x"
			return use(c, "tool.list", "github/-", ``)
		}, remit.UnknownPrincipal, ""},
		{"something else than listing", func(c caller) remit.Request { return use(c, "tool.read", "github/-", ``) }, remit.ToolMisjudged, ""},
		{"a local tool", func(c caller) remit.Request { return use(c, "tool.run", "local/run/go", `{}`) }, "", ""},
		{"several local steps", func(c caller) remit.Request {
			r := use(c, "tool.run", "local/shell", `{}`)
			r.Steps = append(r.Steps, remit.Step{Action: "tool.read", Resource: "tool:local/file", Args: r.Steps[0].Args})
			return r
		}, "", ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team, withTools)
			req := r.ask(w.task("handy", "p-mia"))
			if strings.Contains(string(req.Steps[0].Resource), "/-/") {
				req.Tool.Pin = remit.Digest{}
			}
			if r.code == "" {
				w.redeem(w.allow(req).Permit.ID)
			} else if w.deny(req, r.code, r.words); r.code != remit.UnknownPrincipal && r.code != remit.UnknownResource {
				if w.s.Tasks[req.Caller.Task].Used.Denied != 1 {
					t.Error("the denial is not counted")
				}
			}
			w.replay()
		})
	}
}

func TestAGatewaySaysWhichCallItIs(t *testing.T) {
	for name, spoil := range map[string]func(*remit.Request){
		"nothing of it":        func(r *remit.Request) { r.Tool = nil },
		"of a step on no tool": func(r *remit.Request) { r.Steps = r.Steps[1:] },
		"another tool":         func(r *remit.Request) { r.Tool.Name = "comment" },
		"another server":       func(r *remit.Request) { r.Tool.Server = "kube" },
		"other arguments":      func(r *remit.Request) { r.Tool.Arguments = json.RawMessage(`{"repo":"docs"}`) },
		"another method":       func(r *remit.Request) { r.Tool.Method = "prompts/get" },
		"nothing that binds them": func(r *remit.Request) {
			r.Steps[0].Args, r.Tool.Truncated, r.Tool.Arguments = remit.Digest{}, true, nil
		},
		"arguments, and too many": func(r *remit.Request) { r.Tool.Truncated = true },
		"arguments that are too many": func(r *remit.Request) {
			r.Tool.Arguments = json.RawMessage(`"` + strings.Repeat("x", remit.MaxArguments) + `"`)
			r.Steps[0].Args = remit.ToolDigest(r.Tool.Method, r.Tool.Arguments)
		},
		"a reason in words":    func(r *remit.Request) { r.Tool.Why = []string{"it looked odd"} },
		"nine reasons":         func(r *remit.Request) { r.Tool.Why = slices.Repeat([]string{"dynamic"}, 9) },
		"a host of many words": func(r *remit.Request) { r.Tool.Host = strings.Repeat("x", 65) },
		"no server":            func(r *remit.Request) { r.Tool.Server = "" },
		"a long method":        func(r *remit.Request) { r.Tool.Method = strings.Repeat("x", 129) },
		"two tools in one call": func(r *remit.Request) {
			r.Steps = append(r.Steps, remit.Step{Action: "tool.read", Resource: "tool:github/ci", Args: r.Steps[0].Args})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remit.Team, withTools)
			r := use(w.task("handy", "p-mia"), "tool.read", "github/get", `{"repo":"payments"}`, on("issue.read", payments))
			spoil(&r)
			w.deny(r, remit.BadRequest, "")
			w.replay()
		})
	}
	t.Run("arguments that are too many are bound by their digest", func(t *testing.T) {
		w := newWorld(t, remit.Team, withTools)
		r := use(w.task("handy", "p-mia"), "tool.read", "github/get", `{}`, on("issue.read", payments))
		r.Tool.Arguments, r.Tool.Truncated, r.Steps[0].Args = nil, true, remit.Hash([]byte("much"))
		w.allow(r)
	})
	t.Run("local steps on two servers", func(t *testing.T) {
		w := newWorld(t, remit.Team, withTools)
		r := use(w.task("handy", "p-mia"), "tool.run", "local/shell", `{}`)
		r.Steps = append(r.Steps, remit.Step{Action: "tool.read", Resource: "tool:github/get", Args: r.Steps[0].Args})
		w.deny(r, remit.BadRequest, "of its server")
	})
	t.Run("a preview needs no call", func(t *testing.T) {
		w := newWorld(t, remit.Team, withTools)
		c := w.task("handy", "p-mia")
		r := remit.Request{Gateway: "mcp", Caller: c, Preview: true, Steps: []remit.Step{on("tool.read", "tool:github/get")}}
		w.allow(r)
		r.Steps[0] = on("tool.write", "tool:kube/apply")
		w.deny(r, remit.OutOfScope, "")
	})
	t.Run("what is no JSON", func(t *testing.T) {
		w := newWorld(t, remit.Team, withTools)
		r := use(w.task("handy", "p-mia"), "tool.read", "github/get", `{`)
		if f := authority.FactsOf(w.s, r, 0); len(f.Encode()) == 0 || f.Tool.Server != "" {
			t.Errorf("%+v", f.Tool)
		}
		if !remit.ToolDigest("m", r.Tool.Arguments).IsZero() {
			t.Error("it has a digest")
		}
	})
}

// The digest that binds a call hangs on what it says, and not on how it is stored.
func TestTheDigestOfACall(t *testing.T) {
	a := remit.ToolDigest("tools/call", json.RawMessage(`{"a":"<b>&\u2028"}`))
	if b := remit.ToolDigest("tools/call", json.RawMessage("{ \"a\": \"\\u003cb\\u003e\\u0026\u2028\" }")); a != b || a.IsZero() {
		t.Error("it hangs on escapes or spaces")
	}
	for _, other := range []remit.Digest{remit.ToolDigest("tools/call", nil), remit.ToolDigest("", json.RawMessage(`{"a":"<b>&\u2028"}`)),
		remit.ToolDigest("tools/call", json.RawMessage(`{"a":"<c>&\u2028"}`))} {
		if a == other {
			t.Error("another call has it")
		}
	}
	w := newWorld(t, remit.Team, withTools)
	// Stored and read again, the bytes are others; world checks that the decision is the same.
	w.allow(use(w.task("handy", "p-mia"), "tool.read", "github/get", `{"q":"a<b && c>d","repo":"payments"}`, on("issue.read", payments)))
}

func TestWhatAServerSaysIsWhatWasAdmitted(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	admin := remit.Need{Group: remit.Administrators, N: 1}
	ask := func(p remit.Digest) remit.Request {
		r := use(c, "tool.write", "github/comment", `{"repo":"payments"}`, on("issue.comment", payments))
		r.Tool.Pin = p
		return r
	}
	w.allow(ask(pin("github/comment")))
	none := w.hold(ask(remit.Digest{}), remit.ToolDrift, admin)
	other := w.hold(ask(pin("other")), remit.ToolDrift, admin)
	if none == other {
		t.Fatal("two definitions are one request")
	}
	if again := w.hold(ask(pin("other")), remit.ToolDrift, admin); again != other {
		t.Fatal("the same call asks people twice")
	}
	// A person looked at the difference: this call goes, and the next one waits.
	w.vote(other, "bob", touch("bob"), true)
	d := w.allow(w.claim(other, ask(pin("other"))))
	w.redeem(d.Permit.ID)
	w.must(&authority.Record{Attempt: w.attempts()[0], Outcome: remit.Done})
	w.status(other, remit.AccessUsed, "")
	w.hold(ask(pin("other")), remit.ToolDrift, admin)
	// The new definition is declared.
	w.apply(func(s *authority.Set) {
		s.Tools = slices.Clone(s.Tools)
		s.Tools[1].Pin = pin("other")
	})
	w.allow(ask(pin("other")))
	w.hold(ask(pin("github/comment")), remit.ToolDrift)
	w.replay()
}

func (w *world) attempts() []remit.ID { return slices.Sorted(maps.Keys(w.s.Attempts)) }

// What people are to decide on is stored whole, so a call that cannot be is not asked of them.
func TestACallThatCannotBeStoredDoesNotWait(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	r := use(c, "tool.call", "github/force", `{}`)
	r.Order = nil
	w.deny(r, remit.TooLarge, "make it smaller")
	r.Advice = true
	if d := w.ask(r); d.Verdict != remit.Hold {
		t.Errorf("advice says %v, and stores nothing anyway", d)
	}
	write := use(c, "tool.write", "github/comment", `{}`, on("issue.comment", payments))
	write.Order = nil
	w.allow(write)
	own := use(c, "tool.call", "local/other", `{}`)
	own.Order = nil
	w.hold(own, remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
	w.replay()
}

func TestWhoDecidesOnATool(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	w.hold(use(c, "tool.call", "github/force", `{}`), remit.ImpactHeld, remit.Need{Group: "release", N: 1})
	w.hold(use(c, "tool.call", "local/web", `{}`), remit.ImpactHeld, remit.Need{Group: "reviewers", N: 1})
	w.hold(use(c, "tool.call", "local/other", `{}`), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
	strict := w.task("handy", "p-mia") // the gateway saw in the call that it is more than a write
	w.hold(use(strict, "tool.call", "github/comment", `{}`, on("issue.comment", payments)), remit.ImpactHeld)
	o := w.task("operator", "p-mia")
	a := w.hold(use(o, "tool.call", "kube/undeclared", `{}`), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
	if z := w.s.Accesses[a].Zone; z != remit.ZoneProduction {
		t.Errorf("it lies in zone %q", z)
	}
	if e := w.s.Executor(w.s.Accesses[a]); e != "executor/production" {
		t.Errorf("%s carries it out", e)
	}
	w.deny(remit.Request{Gateway: "mcp", Caller: remit.Caller{Executor: "executor/source", Task: o.Task}, Access: a, Steps: use(o, "tool.call", "kube/undeclared", `{}`).Steps},
		remit.UnknownPrincipal, "executor/production carries out")
	w.replay()
}

// A call that reads production besides is made with the credential of its server, which lies where the server lies.
func TestTheZoneOfACallIsThatOfItsServer(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	ci := use(c, "tool.read", "github/ci", `{}`, on("build.read", "pipeline:payments/ci"))
	if z := w.redeem(w.allow(ci).Permit.ID).Redemption.Zone(); z != remit.ZoneSource {
		t.Errorf("a credential of zone %q", z)
	}
	lease := func(upstream string, on remit.Resource) *authority.OpenLease {
		return &authority.OpenLease{Attempt: w.last("permit.redeemed").(*remit.Redeemed).ID, Upstream: upstream, Target: on, Revocation: remit.RevokeImmediate}
	}
	w.redeem(w.allow(use(c, "tool.read", "github/get", `{}`, on("issue.read", payments))).Permit.ID)
	w.refuse(lease("forge", payments), remit.OutOfScope, "the credential of its server")
	w.refuse(lease("forge", "tool:github/get"), remit.OutOfScope, "the credential of its server")
	w.must(lease("github", "tool:github/get"))
	if l := w.last("lease.intended").(*remit.LeaseOpened); l.Zone != remit.ZoneSource {
		t.Errorf("%+v", l)
	}
	list := use(c, "tool.list", "kube/-", ``)
	if z := w.redeem(w.allow(list).Permit.ID).Redemption.Zone(); z != remit.ZoneProduction {
		t.Errorf("a list of kube is read in zone %q", z)
	}
	w.apply(func(s *authority.Set) {
		s.Agents[4].Entitlements = append(slices.Clone(s.Agents[4].Entitlements), remit.Scope{Actions: []remit.Action{"source.propose"}, Resources: []remit.Pattern{"repo:forge/acme/*"}})
		s.Tools = append(s.Tools, remit.ToolDeclared{Name: "github/**", Zone: remit.ZoneSource, Impact: remit.Read, Steps: []remit.ToolRule{rule("issue.read", ourRepo)}})
	})
	c = w.task("handy", "p-mia")
	proposes := use(c, "tool.run", "local/run/make", `{}`, on("source.propose", payments))
	if z := w.redeem(w.allow(proposes).Permit.ID).Redemption.Zone(); z != remit.ZoneSource {
		t.Errorf("what changes something besides lies in zone %q", z)
	}
	method := use(c, "tool.read", "github/-/methods/x", `{}`)
	w.allow(method) // a pattern's steps are those of tools
	local := use(c, "tool.run", "local/run/make", `{}`)
	if z := w.redeem(w.allow(local).Permit.ID).Redemption.Zone(); z != remit.ZoneNone {
		t.Errorf("a local tool lies in zone %q", z)
	}
	for st, want := range map[remit.Step]remit.Zone{on("tool.read", "tool:github/-"): "S", on("tool.call", "tool:kube/new"): "P", on("tool.read", "tool:github/-/resources/x"): "S",
		on("tool.read", "tool:kube/get"): "P", on("tool.call", "tool:local/x"): "", on("tool.list", "tool:nowhere/-"): "P", on("source.push", payments): "S"} {
		if z := w.s.ZoneOf(st); z != want {
			t.Errorf("%v lies in zone %q", st, z)
		}
	}
}

func TestAServerThatIsContainedIsNotCalled(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	get := use(c, "tool.read", "github/get", `{}`, on("issue.read", payments))
	d := w.allow(get)
	w.must(&authority.ContainUpstream{By: "p-ada", Upstream: "github"})
	w.deny(get, remit.Contained, "github")
	w.refuse(&authority.Redeem{Permit: d.Permit.ID, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Contained, "github")
	if err := w.s.May(c.Task, w.now.UnixNano(), on("tool.read", "tool:github/get")); err == nil || err.Code != remit.Contained {
		t.Error(err)
	}
	w.allow(use(c, "tool.run", "local/run/make", `{}`))
	w.replay()
}

func TestAGrantReachesTools(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("hand2", "p-mia")
	now := func() int64 { return w.now.UnixNano() }
	if got := w.s.ReachedServers(c.Task); !slices.Equal(got, []string{"github"}) {
		t.Error(got)
	}
	if got := w.s.ReachedServers(w.task("handy", "p-mia").Task); !slices.Equal(got, []string{"github", "kube"}) {
		t.Error(got)
	}
	w.apply(func(s *authority.Set) {
		s.Agents[4].Entitlements = append(slices.Clone(s.Agents[4].Entitlements), remit.Scope{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"tool:github/get"}})
	})
	reader := func(c *authority.CreateTask) {
		c.Scope = []remit.Scope{{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"tool:github/get"}}}
	}
	if got := w.s.ReachedServers(w.task("handy", "p-mia", reader).Task); got != nil {
		t.Error(got)
	}
	if got := w.s.ReachedServers("T-0"); got != nil {
		t.Error(got)
	}
	for st, code := range map[remit.Step]remit.Code{on("tool.read", "tool:github/get"): "", on("tool.list", "tool:github/-"): "", on("tool.list", "tool:kube/-"): remit.OutOfScope,
		on("tool.write", "tool:github/comment"): remit.OutOfScope, on("tool.read", "tool:nowhere/x"): remit.UnknownResource, on("tool.call", "tool:github/get"): remit.OutOfScope} {
		err := w.s.May(c.Task, now(), st)
		if code == "" && err != nil || code != "" && (err == nil || err.Code != code) {
			t.Errorf("%v: %v, want %q", st, err, code)
		}
	}
	w.deny(use(c, "tool.list", "kube/-", ``), remit.OutOfScope, "")
	w.must(&authority.EndTask{By: "p-mia", Task: c.Task, Status: remit.TaskCompleted})
	if err := w.s.May(c.Task, now(), on("tool.read", "tool:github/get")); err == nil || err.Code != remit.NotLive {
		t.Error(err)
	}
}

// R4a: what is not declared of a tool lies in production, and so out of reach of whoever writes code.
func TestAgentsAreEntitledToToolsOfTheirZone(t *testing.T) {
	for _, r := range []struct {
		function remit.Function
		action   remit.Action
		on       remit.Pattern
		may      bool
	}{
		{remit.FuncCode, "tool.write", "tool:github/comment", true}, {remit.FuncCode, "tool.write", "tool:github/**", true}, {remit.FuncCode, "tool.write", "tool:github/-/**", true},
		{remit.FuncCode, "tool.write", "tool:github/-/prompts/a/b", true}, {remit.FuncCode, "tool.call", "tool:github/new", false}, {remit.FuncCode, "tool.write", "tool:github/-/methods/*", false},
		{remit.FuncCode, "tool.write", "tool:kube/**", false}, {remit.FuncCode, "tool.write", "tool:kube/apply", false}, {remit.FuncCode, "tool.read", "tool:kube/**", true},
		{remit.FuncCode, "tool.call", "tool:local/**", true}, {remit.FuncPlan, "tool.run", "tool:local/run/*", true}, {remit.FuncPlan, "tool.write", "tool:github/comment", false},
		{remit.FuncOperate, "tool.write", "tool:kube/apply", true}, {remit.FuncOperate, "tool.write", "tool:github/comment", false}, {remit.FuncBuild, "tool.call", "tool:unheard/of", false},
	} {
		w := newWorld(t, remit.Team, withTools)
		s := clone(w.set)
		s.Agents = append(s.Agents, remit.AgentDeclared{Name: "x", Function: r.function, Owner: "p-mia", Entitlements: []remit.Scope{{Actions: []remit.Action{r.action}, Resources: []remit.Pattern{r.on}}}})
		if _, err := authority.Diff(w.s, &s); (err == nil) != r.may {
			t.Errorf("%s, %s on %s: %v", r.function, r.action, r.on, err)
		}
	}
	// The zone moves after the agent was entitled: what it has is no longer its own.
	w := newWorld(t, remit.Team, withTools)
	s := clone(w.set)
	s.Tools = slices.Clone(s.Tools)
	for i := range s.Tools {
		if s.Tools[i].Server() == "github" {
			s.Tools[i].Zone, s.Tools[i].Steps = remit.ZoneProduction, nil
		}
	}
	if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "here in zone P") {
		t.Error(err)
	}
}

// Whoever changed what is declared of a tool, after the work was requested, does not decide on its calls.
func TestWhoDeclaredAToolDoesNotApproveOfIt(t *testing.T) {
	force := 5
	for name, change := range map[string]func(*authority.Set){
		"it is declared anew": tools(force, func(t *remit.ToolDeclared) { t.Taints = []string{"page"} }),
		"it is left to a pattern": func(s *authority.Set) {
			s.Tools = append(slices.Delete(slices.Clone(s.Tools), force, force+1), remit.ToolDeclared{Name: "github/**", Zone: remit.ZoneSource})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remit.Team, withTools)
			early := w.task("handy", "p-mia")
			w.apply(change)
			late := w.task("handy", "p-mia")
			for c, in := range map[caller]bool{early: true, late: false} {
				a := w.hold(use(c, "tool.call", "github/force", `{}`), remit.ImpactHeld)
				if got := w.s.Accesses[a].Closure; slices.Contains(got, "p-ada") != in {
					t.Errorf("task %s: the closure is %v", c.Task, got)
				}
			}
			w.replay()
		})
	}
}

// The zone of a server is that of its tools, as long as it has any.
func TestAServerLiesWhereItsToolsDo(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	list := on("tool.list", "tool:github/-")
	w.apply(func(s *authority.Set) { s.Tools = s.Tools[1:] })
	if z := w.s.ZoneOf(list); z != remit.ZoneSource {
		t.Errorf("with the other tools it lies in zone %q", z)
	}
	w.apply(func(s *authority.Set) { s.Tools, s.Agents = s.Tools[7:], s.Agents[:4] })
	if z := w.s.ZoneOf(list); z != remit.ZoneProduction {
		t.Errorf("without tools it lies in zone %q", z)
	}
	w.replay()
}

func TestTemplates(t *testing.T) {
	for _, r := range []struct {
		template string
		fits     string
		not      string
	}{
		{"repo:forge/acme/{repo}", "repo:forge/acme/a", "repo:forge/acme/a/b repo:forge/acme repo:other/acme/a pipeline:forge/acme/a"},
		{"repo:forge/{path...}", "repo:forge/a repo:forge/a/b/c", "repo:forge repo:x/a"},
		{"repo:forge/{path...}/end", "repo:forge/a/end repo:forge/a/b/end", "repo:forge/end repo:forge/a/b repo:forge/a/end/b"},
		{"repo:{a}/x/{b.c}", "repo:1/x/2", "repo:1/y/2 repo:1/x"},
	} {
		st := rule("issue.read", r.template)
		for _, s := range strings.Fields(r.fits) {
			if !st.Fits(remit.Resource(s)) {
				t.Errorf("%s is no %s", s, r.template)
			}
		}
		for _, s := range strings.Fields(r.not) {
			if st.Fits(remit.Resource(s)) {
				t.Errorf("%s is a %s", s, r.template)
			}
		}
	}
	if fmt.Sprint(rule("issue.read", "repo:a/{b").Fits("repo:a/{b")) != "false" {
		t.Error("a template that is none fits")
	}
}

// A sub-agent has an instance and a grant of its own: less than its parent's, also of tools. It ends with its parent task,
// and not with the one command of it that asked (R2: a task rests on its parent task).
func TestASubAgentHasLessThanItsParent(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	w.apply(func(s *authority.Set) {
		all := s.Agents[4].Entitlements
		s.Agents[4].Entitlements = append(slices.Clone(all), remit.Scope{Actions: []remit.Action{"task.delegate"}, Resources: []remit.Pattern{"task:twin"}})
		s.Agents = append(s.Agents, remit.AgentDeclared{Name: "twin", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, Entitlements: all})
	})
	asked := func(actions []remit.Action, on ...remit.Pattern) func(*authority.CreateTask) {
		return func(c *authority.CreateTask) { c.Scope = []remit.Scope{{Actions: actions, Resources: on}} }
	}
	c := w.task("handy", "p-mia", asked([]remit.Action{"tool.read", "tool.write", "issue.read", "issue.comment"}, "tool:github/**", "repo:forge/acme/*"))
	want := func(action remit.Action, on ...remit.Pattern) remit.Request {
		child := remit.Child{Agent: "twin", Intent: remit.Hash([]byte("words")), Scope: []remit.Scope{{Actions: []remit.Action{action}, Resources: on}}}
		return remit.Request{Gateway: "task", Caller: c, Child: &child, Steps: []remit.Step{{Action: "task.delegate", Resource: "task:twin", Args: authority.ChildDigest(child)}}}
	}
	for _, more := range []remit.Request{want("tool.call", "tool:github/force"), want("tool.read", "tool:kube/get"), want("tool.run", "tool:local/run/make")} {
		w.deny(more, remit.OutOfScope, "lies within the grant of task")
	}
	less := want("tool.read", "tool:github/get", "tool:github/-/resources/*")
	x := w.redeem(w.allow(less).Permit.ID).Attempt.ID
	id := w.must(&authority.CreateChild{Attempt: x, Child: *less.Child}).ID
	k := w.launch(id, "twin", "p-mia")
	resource := use(k, "tool.read", "github/-/resources/x", `{}`)
	resource.Tool.Pin = remit.Digest{}
	w.allow(resource)
	w.allow(use(k, "tool.list", "github/-", ``))
	w.deny(use(k, "tool.write", "github/comment", `{}`, on("issue.comment", payments)), remit.OutOfScope, "")
	stolen := use(c, "tool.read", "github/get", `{}`)
	stolen.Caller.Task = id
	w.deny(stolen, remit.UnknownPrincipal, "")
	if got := w.s.ReachedServers(id); !slices.Equal(got, []string{"github"}) {
		t.Fatal(got)
	}
	w.must(&authority.EndInstance{Instance: c.Instance})
	w.allow(resource)
	d := w.allow(resource)
	w.must(&authority.EndTask{By: "p-mia", Task: c.Task, Status: remit.TaskCancelled})
	if w.s.TaskLive(id, w.now.UnixNano()) || w.s.Instances[k.Instance] != nil {
		t.Fatal("a sub-agent outlives its parent")
	}
	w.refuse(&authority.Redeem{Permit: d.Permit.ID, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "")
	w.deny(resource, remit.UnknownPrincipal, "")
	w.replay()
}
