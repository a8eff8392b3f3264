package broker_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// tooled is a house with a server of tools in a zone, and an agent of that zone that may call them.
func tooled(t *testing.T, zone remit.Zone, f remit.Function) *world.Core {
	t.Helper()
	ctx := t.Context()
	c, err := world.OpenCore(ctx, world.CoreOptions{Store: &ledgertest.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Engine.Close)
	set := c.Set
	set.Upstreams = append(set.Upstreams, remit.UpstreamDeclared{Name: "tools", Type: remit.KindMCP, Spec: remit.Hash([]byte("tools"))})
	set.Tools = []remit.ToolDeclared{{Name: "tools/*", Zone: zone, Impact: remit.Write, Steps: []remit.ToolRule{{Action: "issue.read", Resource: "repo:forge/acme/{x}"}}},
		{Name: "tools/-/resources/*", Zone: zone, Impact: remit.Read}}
	set.Agents = append(set.Agents, remit.AgentDeclared{Name: "caller", Function: f, Owner: "p-mia", Entitlements: []remit.Scope{
		{Actions: []remit.Action{"tool.read", "tool.write", "tool.run"}, Resources: []remit.Pattern{"tool:tools/**", "tool:local/**"}},
		{Actions: []remit.Action{"issue.read"}, Resources: []remit.Pattern{"repo:forge/acme/*"}}}})
	res, err := c.Engine.Do(ctx, &authority.ApplySet{By: "p-ada", Set: set})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Vote(ctx, res.Decision.Access, "bob", true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Engine.Do(ctx, &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access}); err != nil {
		t.Fatal(err)
	}
	return c
}

// call is a request for a call of a tool, with what it does besides.
func call(action remit.Action, name string, besides ...remit.Step) func(remit.Caller) remit.Request {
	return func(c remit.Caller) remit.Request {
		server, tool, _ := strings.Cut(name, "/")
		st := remit.Step{Action: action, Resource: remit.Resource("tool:" + name), Args: remit.ToolDigest("m", nil)}
		return remit.Request{Gateway: "mcp", Caller: c, Steps: append([]remit.Step{st}, besides...), Tool: &remit.ToolCall{Server: server, Name: tool, Method: "m"}}
	}
}

// A call of a tool has its server's credential, whatever else it does, and in the zone in which the server's tools lie.
func TestACallHasTheCredentialOfItsServer(t *testing.T) {
	other := remit.Step{Action: "issue.read", Resource: world.App}
	write := remit.Source{From: "file", Name: keep(t, secret, 0o600)}
	observer := remit.Source{From: "file", Name: keep(t, "reader", 0o600)}
	for _, z := range []struct {
		zone remit.Zone
		f    remit.Function
	}{{remit.ZoneSource, remit.FuncCode}, {remit.ZoneProduction, remit.FuncOperate}} {
		c := tooled(t, z.zone, z.f)
		for _, r := range []struct {
			name string
			up   remit.Upstream
			ask  func(remit.Caller) remit.Request
			want string
		}{
			{"a write", remit.Upstream{Write: write, Observer: observer}, call("tool.write", "tools/x", other), "Bearer " + secret},
			{"a read", remit.Upstream{Write: write, Observer: observer}, call("tool.read", "tools/-/resources/x"), "Bearer reader"},
			{"a read where there is one credential", remit.Upstream{Write: write}, call("tool.read", "tools/-/resources/x"), "Bearer " + secret},
			{"a process, which has its own", remit.Upstream{Command: []string{"/bin/server"}}, call("tool.write", "tools/x", other), ""},
			{"a tool of the agent's own process", remit.Upstream{Write: write}, call("tool.run", "local/run/make"), ""},
		} {
			t.Run(string(z.zone)+" "+r.name, func(t *testing.T) {
				r.up.Name, r.up.Kind = "tools", remit.KindMCP
				l, err := broker.New(one(r.up)).Lease(t.Context(), redeemed(t, c, "caller", r.ask))
				if err != nil {
					t.Fatal(err)
				}
				if got := header(t, l); got != r.want && !(r.want == "" && !strings.Contains(got, secret)) {
					t.Errorf("it sends %q, want %q", got, r.want)
				}
			})
		}
	}
}
