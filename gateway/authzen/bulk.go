package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Requests in bulk (AuthZEN Bulk Access Requests Profile): several denials are asked about at once and have one task. Each
// item is an access request of its own, with its own card, votes and approval: nobody approves one by approving another.
// The task is nothing but their list, which its handle carries.

// bulkHandle is a task handle of several access requests.
const bulkHandle = "arb_"

// maxItems is how many items one submission has: no task has many open holds.
const maxItems = 8

const partial = "partial"

// item is one of several requests, as it was submitted.
type item struct {
	Index    int             `json:"index"`
	Of       int             `json:"of"`
	Resource json.RawMessage `json:"resource"`
	Action   json.RawMessage `json:"action"`
}

// handledItem is how one of several requests stands.
type handledItem struct {
	Resource json.RawMessage `json:"resource"`
	Action   json.RawMessage `json:"action"`
	Status   string          `json:"status"`
	Result   *result         `json:"result,omitempty"`
}

// submitAll takes a submission with items. All of them are asked for, or none.
func (p *Point) submitAll(w http.ResponseWriter, r *http.Request, c remit.Caller, m members, o order) error {
	all, err := m.submissions()
	if err != nil {
		return err
	}
	before, err := p.Desk.Of(r.Context(), c)
	if err != nil {
		return err
	}
	if asked, err := asked(before, o); err != nil || len(asked) == len(all) {
		if err != nil {
			return err
		}
		return p.acceptedAll(w, c, asked)
	}
	for i := range all { // nobody is asked while anything is wrong with any of them
		if err := p.checkBinding(c, &all[i]); err != nil {
			return ofItem(i, err)
		}
		if j := slices.IndexFunc(all[:i], func(s submission) bool { return s.bound.ID == all[i].bound.ID }); j >= 0 {
			return remit.Errorf(remit.BadRequest, "items[%d].denial: that of items[%d]; each item has a denial of its own", i, j)
		}
	}
	var held, opened []Held
	for i := range all {
		mine := o
		mine.Item = &item{Index: i, Of: len(all), Resource: all[i].resource, Action: all[i].action}
		h, fresh, err := p.ask(r.Context(), c, &all[i], mine, before)
		if fresh {
			opened = append(opened, h)
		}
		if was, failed := orderOf(h); err == nil && (failed != nil || was.Item == nil || was.Item.Index != i || was.Item.Of != len(all)) {
			err = &fault{notRequestable, "people are being asked about it already; wait for that request, or cancel it"}
		}
		if err != nil {
			if failed := p.takeBack(r.Context(), c, opened); failed != nil {
				return failed
			}
			return ofItem(i, err)
		}
		held = append(held, h)
	}
	return p.acceptedAll(w, c, held)
}

// takeBack cancels what was opened for a submission that came to nothing.
func (p *Point) takeBack(ctx context.Context, c remit.Caller, opened []Held) (failed error) {
	for _, h := range opened {
		if err := p.Desk.Cancel(context.WithoutCancel(ctx), c, h.Access); err != nil {
			failed = remit.Errorf(remit.Internal, "what was asked for cannot be taken back: %w", err)
		}
	}
	return failed
}

// asked finds the requests that were made under the Idempotency-Key of o, in their order.
func asked(before []Held, o order) (out []Held, err error) {
	if o.Key.IsZero() {
		return nil, nil
	}
	index := map[remit.ID]int{}
	for _, h := range before {
		was, err := orderOf(h)
		switch {
		case err != nil || was.Key != o.Key:
			continue
		case was.Body != o.Body:
			return nil, &fault{duplicateRequest, "another request was made with this Idempotency-Key; take a new one for each"}
		case was.Item != nil:
			index[h.Access] = was.Item.Index
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Held) int { return index[a.Access] - index[b.Access] })
	return out, nil
}

// ofItem says of which item an error is.
func ofItem(i int, err error) error {
	var f *fault
	if errors.As(err, &f) {
		return &fault{f.kind, fmt.Sprintf("items[%d]: %s", i, f.detail)}
	}
	var e *remit.Error
	if errors.As(err, &e) && e.Code != remit.Internal {
		return remit.Errorf(e.Code, "items[%d]: %w", i, err)
	}
	return err
}

// submissions reads a submission with items as one submission for each: what stands at the top is of all of them.
func (m members) submissions() (all []submission, err error) {
	for _, name := range []string{"resource", "action", "callback"} {
		if _, ok := m[name]; !ok {
			continue
		}
		if name == "callback" {
			return nil, remit.Errorf(remit.BadRequest, "callback: not with items; poll task.status_endpoint, or send one request for each item")
		}
		return nil, remit.Errorf(remit.BadRequest, "%s: not beside items; each item has its own", name)
	}
	var list []members
	if _, err := m.part("items", &list); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxItems {
		return nil, remit.Errorf(remit.BadRequest, "items: %d; a request has 1 to %d", len(list), maxItems)
	}
	var wanted members
	if _, err := m.part("requested_access", &wanted); err != nil {
		return nil, err
	}
	for i, in := range list {
		one := maps.Clone(m)
		for _, name := range []string{"resource", "action", "denial"} {
			if one[name] = in[name]; in[name] == nil {
				delete(one, name)
			}
		}
		if _, ok := in["denial"]; !ok {
			return nil, &fault{invalidBinding, fmt.Sprintf("items[%d].denial: missing; this decision point denies each question by itself, so each item hands back its own denial", i)}
		}
		var own members
		if _, err := in.part("requested_access", &own); err != nil {
			return nil, ofItem(i, err)
		}
		merged := members{}
		maps.Copy(merged, wanted)
		maps.Copy(merged, own)
		if one["requested_access"], err = json.Marshal(merged); err != nil {
			return nil, remit.Errorf(remit.BadRequest, "items[%d].requested_access: %w", i, err)
		}
		s, err := one.submission()
		if err != nil {
			return nil, ofItem(i, err)
		}
		s.of, s.resource, s.action = len(list), in["resource"], in["action"]
		all = append(all, s)
	}
	return all, nil
}

// bulk is the handle of several requests.
func (p *Point) bulk(held []Held) string {
	ids := make([]string, len(held))
	for i, h := range held {
		ids[i] = string(h.Access)
	}
	return p.handle(bulkHandle, remit.ID(strings.Join(ids, ",")))
}

// acceptedAll answers a submission with items.
func (p *Point) acceptedAll(w http.ResponseWriter, c remit.Caller, held []Held) error {
	a, err := p.tasks(c, held)
	if err != nil {
		return err
	}
	return p.answerAccepted(w, a)
}

// tasks is several requests as one task: its state is the one that they all have, or pending, or partial.
func (p *Point) tasks(c remit.Caller, held []Held) (a taskAnswer, err error) {
	id := p.bulk(held)
	at := p.Base + requestsPath + "/" + id
	a.Task = handledTask{ID: id, Endpoint: at, Links: map[string]string{}}
	for _, h := range held {
		o, err := orderOf(h)
		if err != nil || o.Item == nil {
			return a, remit.Errorf(remit.Internal, "what %s was asked for cannot be read: %w", h.Access, err)
		}
		one := handledItem{Resource: o.Item.Resource, Action: o.Item.Action, Status: h.state()}
		if one.Status == approved {
			if one.Result, err = p.approval(c, h); err != nil {
				return a, err
			}
		}
		a.Task.Items = append(a.Task.Items, one)
		switch {
		case a.Task.Status == "" || one.Status == pending:
			a.Task.Status = one.Status
		case a.Task.Status != pending && a.Task.Status != one.Status:
			a.Task.Status = partial
		}
		if end := h.NotAfter.UTC(); a.Task.Expires == nil || end.After(*a.Task.Expires) {
			a.Task.Expires = &end
		}
	}
	if a.Task.Status == pending {
		a.Task.Links["cancel"] = at + "/cancel"
	}
	return a, nil
}

// heldAll finds the requests of a bulk handle that the caller may know of; ok is false for another kind of handle.
func (p *Point) heldAll(r *http.Request, c remit.Caller) (held []Held, ok bool, err error) {
	ids, ok := p.handled(bulkHandle, r.PathValue("task"))
	if !ok {
		return nil, false, nil
	}
	live := false
	for id := range strings.SplitSeq(string(ids), ",") {
		h, err := p.Desk.Look(r.Context(), c, remit.ID(id))
		var e *remit.Error
		switch {
		case errors.As(err, &e) && e.Code == remit.NotFound:
			return nil, true, &fault{unknownTask, "there is no such task, or it is not of the caller's task"}
		case err != nil:
			return nil, true, err
		}
		held, live = append(held, h), live || p.Now().Before(h.NotAfter)
	}
	if !live {
		return nil, true, &fault{taskExpired, "all items of the task have ended"}
	}
	return held, true, nil
}

// cancelAll takes back all items that are not decided yet.
func (p *Point) cancelAll(ctx context.Context, c remit.Caller, held []Held) ([]Held, error) {
	some := false
	for i, h := range held {
		if h.state() != pending {
			continue
		}
		some = true
		if err := p.Desk.Cancel(ctx, c, h.Access); err != nil {
			return nil, err
		}
		var err error
		if held[i], err = p.Desk.Look(ctx, c, h.Access); err != nil {
			return nil, err
		}
	}
	if !some {
		return nil, &fault{invalidState, "no item of the task is pending; only what is can be cancelled"}
	}
	return held, nil
}
