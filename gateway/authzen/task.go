package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// handledTask is a task as the profile has it (Access Request Response).
type handledTask struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Endpoint string            `json:"status_endpoint"`
	Expires  *time.Time        `json:"expires_at,omitempty"`
	Links    map[string]string `json:"links,omitempty"`
	Items    []handledItem     `json:"items,omitempty"`
}

// result is how an approved task is completed: by evaluating again. Nothing else opens anything.
type result struct {
	Mode     string   `json:"mode"`
	Approval approval `json:"approval"`
}

// approval is what the enforcement point brings back in context.approval, as it is.
type approval struct {
	ID    string     `json:"id"`
	At    *time.Time `json:"approved_at,omitempty"`
	Until time.Time  `json:"approved_until"`
	State string     `json:"state"`
}

type taskAnswer struct {
	Task   handledTask `json:"task"`
	Result *result     `json:"result,omitempty"`
}

// The profile's states of a task.
const (
	pending   = "pending"
	approved  = "approved"
	denied    = "denied"
	expired   = "expired"
	cancelled = "cancelled"
	failed    = "failed"
)

// state maps how an access request stands to the profile's states (Status Mapping Obligation). An approval that was spent
// stays approved: what it was good for is told when it is evaluated. One that is taken back is cancelled.
func (h Held) state() string {
	switch h.Status {
	case remit.AccessOpen:
		return pending
	case remit.AccessMet, remit.AccessReserved, remit.AccessUsed:
		return approved
	}
	switch h.Why {
	case remit.Vetoed:
		return denied
	case remit.Expired:
		return expired
	case remit.Stale, remit.NoApprover, remit.PolicyDenied, remit.OutOfScope:
		return failed
	}
	return cancelled
}

// accepted answers a submission.
func (p *Point) accepted(w http.ResponseWriter, c remit.Caller, h Held) error {
	a, err := p.task(c, h)
	if err != nil {
		return err
	}
	return p.answerAccepted(w, a)
}

func (p *Point) answerAccepted(w http.ResponseWriter, a taskAnswer) error {
	w.Header().Set("Location", a.Task.Endpoint)
	if a.Task.Status == pending {
		w.Header().Set("Retry-After", pollAfter)
		reply(w, http.StatusAccepted, a)
		return nil
	}
	reply(w, http.StatusCreated, a)
	return nil
}

// task is a request for access as its task handle, with what completes it once people approved.
func (p *Point) task(c remit.Caller, h Held) (a taskAnswer, err error) {
	id := p.handle(taskHandle, h.Access)
	at := p.Base + requestsPath + "/" + id
	end := h.NotAfter.UTC()
	a.Task = handledTask{ID: id, Status: h.state(), Endpoint: at, Expires: &end, Links: map[string]string{}}
	if h.URL != "" {
		a.Task.Links["ticket"] = h.URL
	}
	switch a.Task.Status {
	case pending:
		a.Task.Links["cancel"] = at + "/cancel"
	case approved:
		a.Result, err = p.approval(c, h)
	}
	return a, err
}

// approval is the result of an approved task.
func (p *Point) approval(c remit.Caller, h Held) (*result, error) {
	o, err := orderOf(h)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "what %s was asked for cannot be read: %w", h.Access, err)
	}
	r := &result{Mode: "reevaluate", Approval: approval{ID: p.handle(approvalHandle, h.Access), Until: o.until(h).UTC()}}
	if !h.Approved.IsZero() {
		at := h.Approved.UTC()
		r.Approval.At = &at
	}
	r.Approval.State, err = p.signs.sign(approvalType, claims{Issuer: p.Base, Audience: p.Base, Issued: p.Now().Unix(), Expires: r.Approval.Until.Unix(),
		ID: r.Approval.ID, Approval: r.Approval.ID, Task: c.Task, Hash: o.Hash, Members: orNone(o.Members), Eval: o.Evaluation})
	return r, err
}

// until is when an approval ends: with the access request, or when the asker said that it needs it no longer.
func (o order) until(h Held) time.Time {
	if o.Until != nil && o.Until.Before(h.NotAfter) {
		return *o.Until
	}
	return h.NotAfter
}

// maxState is the longest state that an enforcement point gets back, in bytes.
const maxState = 1 << 10

// checkCallback refuses to call anybody whom nobody has declared: what asks chooses among them, and names no address of
// its own.
func (p *Point) checkCallback(ctx context.Context, b *callback) error {
	switch {
	case b == nil:
		return nil
	case p.Callable == nil || !p.Callable(ctx, b.Endpoint):
		return remit.Errorf(remit.BadRequest, "callback.endpoint: not declared; a webhook of that very URL with authzen.callback among its events is called back, and task.status_endpoint can be polled")
	case len(b.State) > maxState:
		return remit.Errorf(remit.BadRequest, "callback.state: at most %d bytes", maxState)
	}
	for _, e := range b.Events {
		if !slices.Contains([]string{approved, denied, expired, cancelled, failed, partial}, e) {
			return remit.Errorf(remit.BadRequest, "callback.events: %.32q is none of the profile's", e)
		}
	}
	return nil
}

// Told is what an enforcement point wanted to be told of a request that has come to an end: that it has, and nothing that
// opens anything. ok is false where it wanted nothing of this.
func (p *Point) Told(h Held) (endpoint string, body []byte, ok bool) {
	o, err := orderOf(h)
	if err != nil || o.Callback == nil || h.state() == pending || len(o.Callback.Events) > 0 && !slices.Contains(o.Callback.Events, h.state()) {
		return "", nil, false
	}
	id := p.handle(taskHandle, h.Access)
	body, err = json.Marshal(struct {
		State string      `json:"state,omitempty"`
		Task  handledTask `json:"task"`
	}{o.Callback.State, handledTask{ID: id, Status: h.state(), Endpoint: p.Base + requestsPath + "/" + id}})
	return o.Callback.Endpoint, body, err == nil
}

// held finds the request of a task handle that the caller may know of (profile, Task Handle Authorization).
func (p *Point) held(r *http.Request, c remit.Caller) (Held, error) {
	unknown := &fault{unknownTask, "there is no such task, or it is not of the caller's task"}
	id, ok := p.handled(taskHandle, r.PathValue("task"))
	if !ok {
		return Held{}, unknown
	}
	h, err := p.Desk.Look(r.Context(), c, id)
	var e *remit.Error
	switch {
	case errors.As(err, &e) && e.Code == remit.NotFound:
		return Held{}, unknown
	case err != nil:
		return Held{}, err
	case !p.Now().Before(h.NotAfter):
		return Held{}, &fault{taskExpired, "the task ended at " + h.NotAfter.UTC().Format(time.RFC3339)}
	}
	return h, nil
}

// status tells how a task stands.
func (p *Point) status(w http.ResponseWriter, r *http.Request, c remit.Caller) error {
	a, err := p.stands(r, c)
	if err != nil {
		return err
	}
	if a.Task.Status == pending {
		w.Header().Set("Retry-After", pollAfter)
	}
	reply(w, http.StatusOK, a)
	return nil
}

func (p *Point) stands(r *http.Request, c remit.Caller) (taskAnswer, error) {
	if held, ok, err := p.heldAll(r, c); ok {
		if err != nil {
			return taskAnswer{}, err
		}
		return p.tasks(c, held)
	}
	h, err := p.held(r, c)
	if err != nil {
		return taskAnswer{}, err
	}
	return p.task(c, h)
}

// cancel takes a request back.
func (p *Point) cancel(w http.ResponseWriter, r *http.Request, c remit.Caller) error {
	if held, ok, err := p.heldAll(r, c); ok {
		if err != nil {
			return err
		}
		if held, err = p.cancelAll(r.Context(), c, held); err != nil {
			return err
		}
		a, err := p.tasks(c, held)
		if err != nil {
			return err
		}
		reply(w, http.StatusOK, a)
		return nil
	}
	h, err := p.held(r, c)
	if err != nil {
		return err
	}
	if h.state() != pending {
		return &fault{invalidState, "the task is " + h.state() + "; only one that is pending can be cancelled"}
	}
	if err := p.Desk.Cancel(r.Context(), c, h.Access); err != nil {
		return err
	}
	if h, err = p.Desk.Look(r.Context(), c, h.Access); err != nil {
		return err
	}
	a, err := p.task(c, h)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, a)
	return nil
}
