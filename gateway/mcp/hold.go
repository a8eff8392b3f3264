package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// holdOpen is how long a call that waits for people is kept open, where Config does not say.
const holdOpen = 20 * time.Second

// mine is the key of Remit's one question among a result's inputRequests.
const mine = "remit"

func (g *Gateway) seal(t ticket.Ticket) string { return t.Seal(&g.cfg.Key) }

// open is the ticket that was given to this caller for that use.
func (g *Gateway) open(text, use string, c *call) (ticket.Ticket, error) {
	t, err := ticket.Open(&g.cfg.Key, text, ticket.Ticket{Use: use, Task: c.caller.Task, Server: c.server.Name}, g.now())
	if err != nil {
		return ticket.Ticket{}, protocol(err)
	}
	return t, nil
}

// returned is what a client brings back of a question of Remit's own.
type returned struct {
	State     string `json:"requestState"`
	Responses map[string]struct {
		Action string `json:"action"`
	} `json:"inputResponses"`
}

// comesBack tells whether a call is the retry of one that Remit has answered with a question.
func (c *call) comesBack() (b returned, ok bool) {
	if c.version < envelope.Stateless || !bytes.Contains(c.params, []byte(ticket.Prefix)) || json.Unmarshal(c.params, &b) != nil {
		return returned{}, false
	}
	return b, strings.HasPrefix(b.State, ticket.Prefix)
}

// taken is the answer to this very call that people approved earlier, once. It is asked before anything is decided.
func (g *Gateway) taken(c *call) (answer []byte, ok bool) {
	if !g.cfg.Answers.Any(c.caller.Task) {
		return nil, false
	}
	body, err := c.stored()
	if err != nil {
		return nil, false
	}
	a, ok := g.cfg.Answers.Take(c.caller.Task, remit.Hash(body))
	if !ok {
		return nil, false
	}
	return envelope.Encode(c.answer(a.Body)), true
}

// answer is what is kept as the answer to this request.
func (c *call) answer(body []byte) envelope.Reply {
	var r envelope.Reply
	if err := json.Unmarshal(body, &r); err != nil {
		return reply.Error(c.id, envelope.InternalError, "remit: the answer that was kept cannot be read", nil)
	}
	r.Version, r.ID = "2.0", c.id
	return r
}

// served answers what a client says to Remit itself: a call that comes back with Remit's own state, and what it asks about
// a task of Remit's. Anything else is not answered here.
func (g *Gateway) served(w http.ResponseWriter, r *http.Request, c *call) bool {
	switch c.method {
	case "tasks/get", "tasks/update", "tasks/cancel":
		if ticket.Claims(envelope.Member(c.params, "taskId")) {
			g.task(w, r, c)
			return true
		}
	case "tools/call", "prompts/get", "resources/read":
		if b, ok := c.comesBack(); ok {
			g.back(w, r, c, b)
			return true
		}
	}
	return false
}

// back answers a call that comes back. Nothing is decided by that: it was decided when the call was held.
func (g *Gateway) back(w http.ResponseWriter, r *http.Request, c *call, b returned) {
	t, err := g.open(b.State, "state", c)
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	body, err := c.stored()
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	if remit.Hash(body) != t.Order {
		g.fail(w, r, c, protocol(envelope.Malformed(envelope.InvalidParams, "this call is not the one that was held as %s; make it without the requestState", t.Access)))
		return
	}
	d := remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: t.Access}
	if a := b.Responses[mine].Action; a != "decline" && a != "cancel" {
		g.wait(w, r, c, t, d)
		return
	}
	// Whoever sits there does not want to see it: they are not asked again. Others may still decide.
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	m, ended := g.ended(ctx, c, t)
	if !ended {
		m = g.still(c, d)
	}
	g.say(w, r, http.StatusOK, m)
}

// hold answers a call that waits for people, by what the client can do.
func (g *Gateway) hold(w http.ResponseWriter, r *http.Request, c *call, d remit.Decision) {
	body, err := c.stored()
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	t := ticket.Ticket{Use: "state", Access: d.Access, Task: c.caller.Task, Server: c.server.Name, Order: remit.Hash(body), At: g.now().Unix()}
	switch {
	case c.canAnswer():
		g.say(w, r, http.StatusOK, g.question(c, t, d))
	case c.canTask():
		g.say(w, r, http.StatusOK, reply.Result(c.id, envelope.Encode(g.created(t, d))))
	default:
		g.wait(w, r, c, t, d)
	}
}

// canAnswer tells whether the client can be asked to show a person a page (2026-07-28, MRTR, "Supported Requests").
func (c *call) canAnswer() bool {
	return c.version >= envelope.Stateless && c.can.ElicitURL && (c.method == "tools/call" || c.method == "prompts/get" || c.method == "resources/read")
}

func (c *call) canTask() bool {
	return c.version >= envelope.Stateless && c.can.Tasks && c.method == "tools/call"
}

// canRetry tells whether the client shows a person a page when a call fails for want of that, and makes it again
// (2025-11-25, Elicitation, URL Mode With Elicitation Required Error).
func (c *call) canRetry() bool { return c.version == "2025-11-25" && c.can.ElicitURL }

// shows is the error by which a client is told to show the page. It says the same to a model that gets to read it.
func (g *Gateway) shows(c *call, d remit.Decision) envelope.Reply {
	return reply.Error(c.id, envelope.URLElicitationRequired, reply.HeldText(d, g.cfg.Holds.URL(d.Access)), map[string]any{"elicitations": []any{g.page(c, d)}, "decision": g.held(d)})
}

// page is what a person is shown.
func (g *Gateway) page(c *call, d remit.Decision) map[string]any {
	p := map[string]any{"mode": "url", "url": g.cfg.Holds.URL(d.Access),
		"message": fmt.Sprintf("%s waits for people as %s. Who may approve it looks at it here; then this call goes on by itself.", remit.VisibleText(c.what()), d.Access)}
	if c.version < envelope.Stateless { // 2026-07-28 has no such member
		p["elicitationId"] = string(d.Access)
	}
	return p
}

// question asks the client to show a person where the call is looked at.
func (g *Gateway) question(c *call, t ticket.Ticket, d remit.Decision) envelope.Reply {
	return reply.Result(c.id, envelope.Encode(map[string]any{"resultType": "input_required", "requestState": g.seal(t),
		"inputRequests": map[string]any{mine: map[string]any{"method": "elicitation/create", "params": g.page(c, d)}},
		"_meta":         map[string]any{reply.DecisionKey: g.held(d)}}))
}

// what is what a call wants, in words.
func (c *call) what() string {
	if c.name == "" {
		return c.method
	}
	return c.method + " " + c.name
}

func (g *Gateway) held(d remit.Decision) reply.Verdict {
	return reply.Verdict{Verdict: remit.Hold, Code: d.Code, Rules: d.Rules, Entry: d.Entry, Access: d.Access, URL: g.cfg.Holds.URL(d.Access)}
}

// wait keeps the request open for a while, and then says how it stands.
func (g *Gateway) wait(w http.ResponseWriter, r *http.Request, c *call, t ticket.Ticket, d remit.Decision) {
	patience := g.cfg.HoldOpen
	if patience == 0 {
		patience = holdOpen
	}
	leave, ok := g.seats.Take(c.caller.Instance)
	if !ok { // it is told how it stands
		patience = 0
		leave = func() {}
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	o := sse.KeepOpen(ctx, w, r, g.cfg.Write, c.progressToken(), "waiting for people to decide on "+string(t.Access))
	m, ended := g.ended(ctx, c, t)
	switch {
	case ended:
	case r.Context().Err() != nil: // the client is gone; what was approved is done all the same
		o.Close(nil)
		return
	case c.canAnswer():
		m = g.question(c, t, d)
	case c.canRetry() && g.shown.First(c.caller.Instance, d.Access): // some cancel at once, so people get their time first
		m = g.shows(c, d)
	default:
		m = g.still(c, d)
	}
	o.Close(envelope.Encode(m))
}

// ended is the answer to a call that was held, where it has ended before ctx does.
func (g *Gateway) ended(ctx context.Context, c *call, t ticket.Ticket) (envelope.Reply, bool) {
	status, why, err := g.cfg.Holds.Wait(ctx, t.Access)
	if err != nil {
		if ctx.Err() != nil {
			return envelope.Reply{}, false
		}
		return reply.Error(c.id, envelope.InternalError, reply.Line(gateway.AsError(remit.Internal, err)), nil), true
	}
	switch status {
	case remit.AccessReserved: // it is being carried out
		if a, ok := g.cfg.Answers.Wait(ctx, t.Task, t.Order); ok {
			return c.answer(a.Body), true
		}
	case remit.AccessUsed:
		if a, ok := g.cfg.Answers.Take(t.Task, t.Order); ok {
			return c.answer(a.Body), true
		}
		return g.over(c, t, remit.AlreadyUsed, "%s was approved and carried out; its answer was collected, or is no longer there. Do not call it again for the answer: look at what it has done.", t.Access), true
	case remit.AccessVoid:
		return g.over(c, t, remit.Vetoed, "%s was not approved, and nothing was done: %s", t.Access, remit.VisibleText(why)), true
	}
	return envelope.Reply{}, false
}

// over tells how a held call ended, in place of an answer.
func (g *Gateway) over(c *call, t ticket.Ticket, code remit.Code, format string, args ...any) envelope.Reply {
	text := fmt.Sprintf(format, args...)
	v := reply.Verdict{Verdict: remit.Deny, Code: code, Access: t.Access}
	if c.method == "tools/call" {
		return reply.Lesson(c.id, c.version, text, v)
	}
	return reply.Error(c.id, envelope.Denied, "remit: "+text, v)
}

// still tells that a call waits on, to a client that can do nothing but ask again.
func (g *Gateway) still(c *call, d remit.Decision) envelope.Reply {
	v, text := g.held(d), reply.HeldText(d, g.cfg.Holds.URL(d.Access))
	if c.method == "tools/call" {
		return reply.Lesson(c.id, c.version, text, v)
	}
	return reply.Error(c.id, envelope.Held, "remit: "+text, v)
}

// created is the task that a held call becomes. It exists as long as the access request does: its id says which.
func (g *Gateway) created(t ticket.Ticket, d remit.Decision) reply.Task {
	t.Use = "task"
	j := g.job(t, g.seal(t))
	j.Type = "task"
	j.Meta = map[string]any{reply.DecisionKey: g.held(d)}
	return j
}

func (g *Gateway) job(t ticket.Ticket, id string) reply.Task {
	return reply.NewTask(id, t.Access, time.Unix(t.At, 0), g.cfg.Holds.URL(t.Access))
}

// task answers tasks/get, tasks/update and tasks/cancel on a task of Remit's.
func (g *Gateway) task(w http.ResponseWriter, r *http.Request, c *call) {
	if !c.can.Tasks {
		e := envelope.Malformed(envelope.MissingCapability, "the client does not say that it knows tasks")
		e.Data = map[string]any{"requiredCapabilities": map[string]any{"extensions": map[string]any{envelope.TasksExtension: struct{}{}}}}
		g.fail(w, r, c, protocol(e))
		return
	}
	var p struct {
		ID string `json:"taskId"`
	}
	_ = json.Unmarshal(c.params, &p) // it was looked at already
	t, err := g.open(p.ID, "task", c)
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	if c.method != "tasks/get" { // nothing is asked of the client; what people decide on, an agent does not take back
		g.say(w, r, http.StatusOK, reply.Result(c.id, envelope.Encode(map[string]string{"resultType": "complete"})))
		return
	}
	g.say(w, r, http.StatusOK, reply.Result(c.id, envelope.Encode(g.look(r.Context(), c, t, p.ID))))
}

// look says how a task stands.
func (g *Gateway) look(ctx context.Context, c *call, t ticket.Ticket, id string) reply.Task {
	j := g.job(t, id)
	// What was told once is told again for as long as it is kept, as the extension asks; but the same call, made again, is
	// another one by then.
	again := remit.Hash([]byte(id))
	if a, ok := g.cfg.Answers.Take(t.Task, again); ok {
		g.cfg.Answers.Keep(t.Task, again, a)
		return j.With(c.answer(a.Body))
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel() // as it is
	told := *c
	told.method = "tools/call" // what the task is of
	m, ended := g.ended(ctx, &told, t)
	if !ended {
		return j
	}
	g.cfg.Answers.Keep(t.Task, again, gateway.Answer{Body: envelope.Encode(m)})
	return j.With(m)
}
