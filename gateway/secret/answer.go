package secret

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

func write(w http.ResponseWriter, a gateway.Answer) {
	w.Header().Set("Content-Type", a.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client is gone: there is nobody to tell
}

func problem(code remit.Code, sentence string) gateway.Answer {
	i := code.Info()
	b, err := json.Marshal(remit.Problem{Code: code, Title: i.Meaning, Detail: sentence, Status: i.HTTP})
	if err != nil { // plain values only
		b = nil
	}
	return gateway.Answer{Status: i.HTTP, ContentType: "application/problem+json", Body: b}
}

// Orders finds the stored request of an access request, and the task that it is of.
type Orders interface {
	Order(r *http.Request, access remit.ID) (task remit.ID, order []byte, err error)
}

// Handler serves the gateway: what is asked goes through the pipeline; answers are collected by the same task.
func (g *Gateway) Handler(p *gateway.Pipeline, orders Orders) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.URL.Path, "/secret/")
		access, ok := strings.CutPrefix(rest, "answer/")
		if !ok {
			p.Handle(g, w, r)
			return
		}
		caller, err := p.Authn.Authenticate(r)
		if err != nil {
			g.Fail(w, r, gateway.AsError(remit.Unauthenticated, err))
			return
		}
		task, order, err := orders.Order(r, remit.ID(access))
		if err != nil || task != caller.Task || r.Method != http.MethodGet {
			write(w, problem(remit.NotFound, "there is no answer to that access request for this task"))
			return
		}
		a, ok := g.Answers.Take(task, remit.Hash(order))
		if !ok {
			write(w, problem(remit.NotFound, "the answer is not there yet, was collected, or its time is over"))
			return
		}
		write(w, a)
	})
}
