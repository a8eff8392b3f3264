package authzen

import (
	"context"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Handover is how an approval is spent: what is carried out here is only that the enforcement point is told yes. Until is
// set to the end of what it was told.
type Handover struct{ Until time.Time }

// Classify: nobody calls this gateway so.
func (*Handover) Classify(context.Context, remit.Caller, *http.Request) (remit.Request, []remit.Payload, error) {
	return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "ask the decision point")
}

// Forward tells the enforcement point.
func (h *Handover) Forward(ctx context.Context, _ remit.Order, _ gateway.Credential, _ http.ResponseWriter) gateway.Result {
	h.Until, _ = ctx.Deadline() // of the attempt
	return gateway.Result{Outcome: remit.Done, Receipt: []byte("the enforcement point that asked was told yes; it carries it out")}
}

// Refuse and Fail have nobody to answer.
func (*Handover) Refuse(http.ResponseWriter, *http.Request, remit.Decision) {}
func (*Handover) Fail(http.ResponseWriter, *http.Request, *remit.Error)     {}

// Reconcile: whether the enforcement point was told, and what it did then, nobody here knows.
func (*Handover) Reconcile(context.Context, remit.Order) gateway.Result {
	return gateway.Result{Outcome: remit.Ambiguous}
}
