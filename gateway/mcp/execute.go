package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/naming"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// executeWithin is how long a stored call may take: an executor makes one after another.
const executeWithin = 5 * time.Minute

// receipt is what is kept of an answer: enough to recognise it, nothing of what it says.
type receipt struct {
	Digest remit.Digest `json:"sha256"`
	Bytes  int          `json:"bytes"`
	Error  bool         `json:"error"` // the tool said that it failed, or the server that it did not call it
}

// execute makes a stored call, as Remit itself. Its answer waits for the task that asked.
func (g *Gateway) execute(ctx context.Context, o remit.Order, cred gateway.Credential) gateway.Result {
	unmade := func(err error) gateway.Result {
		e := gateway.AsError(remit.Internal, err)
		return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(e.Sentence)}
	}
	stored, err := readOrder(o.Body)
	if err != nil {
		return unmade(err)
	}
	s, err := g.cfg.Servers.Server(ctx, stored.Server)
	if err != nil {
		return unmade(err)
	}
	ctx, cancel := context.WithTimeout(ctx, executeWithin)
	defer cancel()
	result, fault, err := g.ask(ctx, s, cred.Apply, g.whose(o.Caller.Instance), stored.Method, stored.Params)
	m, res := came(result, fault, err)
	switch {
	case res.Outcome == remit.NotApplied: // it is tried again
		return res
	case err != nil:
		m = reply.Error(nil, envelope.InternalError, "remit: it was approved and sent, and nobody knows what came of it: "+remit.VisibleText(gateway.AsError(remit.UpstreamDown, err).Sentence)+". Look before you call it again.", nil)
	case string(envelope.Member(m.Result, "resultType")) == `"input_required"`:
		m = reply.Error(nil, envelope.InternalError, "remit: it was approved and sent, and the server asks its client for something, which is not passed on after an approval", nil)
	case m.Result != nil:
		m.Result = reply.Mark(m.Result, stored.Server)
	}
	g.cfg.Answers.Keep(o.Caller.Task, remit.Hash(o.Body), gateway.Answer{Body: envelope.Encode(m)})
	return res
}

// came is what came of a request: its answer, and what of it is kept.
func came(result, fault json.RawMessage, err error) (envelope.Reply, gateway.Result) {
	if err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		res := gateway.Result{Outcome: remit.Ambiguous, Code: e.Code, Receipt: []byte(e.Sentence)}
		if errors.Is(err, upstream.ErrUnsent) {
			res.Outcome = remit.NotApplied
		}
		return envelope.Reply{Version: "2.0"}, res
	}
	body := result
	if fault != nil {
		body = fault
	}
	return envelope.Reply{Version: "2.0", Result: result, Error: fault}, gateway.Result{Outcome: remit.Done, Receipt: received(body, fault != nil || failed(result))}
}

// whose is the instance in whose process of a server an approved call is made. What people approve after it has ended is
// made in Remit's own.
func (g *Gateway) whose(instance remit.ID) remit.ID {
	select {
	case <-g.cfg.ended(instance):
		return ""
	default:
		return instance
	}
}

// reconcile finds out what became of a call whose outcome was never recorded, by what its tool declares.
func (g *Gateway) reconcile(ctx context.Context, o remit.Order) gateway.Result {
	unknown := gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}
	if reads(o.Steps) {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
	}
	stored, err := readOrder(o.Body)
	if err != nil || len(o.Steps) == 0 || stored.Method != "tools/call" {
		return unknown
	}
	s, err := g.cfg.Servers.Server(ctx, stored.Server)
	if err != nil {
		return unknown
	}
	t, _ := naming.Record(s.Tools, o.Steps[0].Resource.Name())
	switch {
	case t.Recovery == remit.RecoverProbe && t.Probe != nil:
		return g.probe(ctx, s, t, stored)
	case t.Recovery == remit.RecoverCAS && len(s.Command) > 0:
		// It is good once, so it can be made again; a server that needs a credential gets none without a decision.
		result, fault, err := g.ask(ctx, s, nil, g.whose(o.Caller.Instance), stored.Method, stored.Params)
		if _, failed := reply.Text(result); err == nil && fault == nil && !failed {
			return gateway.Result{Outcome: remit.Done, Receipt: received(result, false)}
		}
	}
	return unknown
}

// reads tells whether steps change nothing.
func reads(steps []remit.Step) bool {
	for _, st := range steps {
		if info, ok := remit.Lookup(st.Action); !ok || info.Impact != remit.Read {
			return false
		}
	}
	return len(steps) > 0
}

// probe asks the server, in Remit's own name, whether a call was carried out.
func (g *Gateway) probe(ctx context.Context, s Server, t remit.Tool, stored order) gateway.Result {
	unknown := gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown, Yet: true}
	params, contains, err := naming.ProbeCall(*t.Probe, envelope.Member(stored.Params, "arguments"))
	if err != nil {
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.Internal}
	}
	result, fault, err := g.ask(ctx, s, s.Observer, "", "tools/call", params)
	text, failed := reply.Text(result)
	switch {
	case err != nil || fault != nil || failed:
		return unknown
	case strings.Contains(text, contains):
		return gateway.Result{Outcome: remit.Done, Receipt: received(result, false)}
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown, Yet: true}
}
