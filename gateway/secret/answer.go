package secret

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// AnswerLife is how long the answer to an approved request waits to be collected.
const AnswerLife = 10 * time.Minute

// maxAnswers bounds what waits in memory.
const maxAnswers = 64

// answer is what came back.
type answer struct {
	status      int
	contentType string
	body        []byte
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client is gone: there is nobody to tell
}

func problem(code remit.Code, sentence string) answer {
	i := code.Info()
	b, err := json.Marshal(remit.Problem{Code: code, Title: i.Meaning, Detail: sentence, Status: i.HTTP})
	if err != nil { // plain values only
		b = nil
	}
	return answer{i.HTTP, "application/problem+json", b}
}

// Answers keeps the answers to approved requests until they are collected, in memory only: after a restart there are
// none, and whoever waits has to ask again.
type Answers struct {
	Now func() time.Time

	mu   sync.Mutex
	kept map[key]kept
}

// key is what an answer belongs to: a task, and the stored request that its people approved.
type key struct {
	task  remit.ID
	order remit.Digest
}

type kept struct {
	answer
	until time.Time
}

func (a *Answers) keep(task remit.ID, order []byte, v answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	for k, o := range a.kept {
		if !now.Before(o.until) {
			delete(a.kept, k)
		}
	}
	if a.kept == nil {
		a.kept = map[key]kept{}
	}
	if len(a.kept) < maxAnswers {
		a.kept[key{task, remit.Hash(order)}] = kept{v, now.Add(AnswerLife)}
	}
}

// take gives an answer, once.
func (a *Answers) take(task remit.ID, order []byte) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := key{task, remit.Hash(order)}
	v, ok := a.kept[k]
	delete(a.kept, k)
	return v.answer, ok && a.Now().Before(v.until)
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
			problem(remit.NotFound, "there is no answer to that access request for this task").write(w)
			return
		}
		a, ok := g.Answers.take(task, order)
		if !ok {
			problem(remit.NotFound, "the answer is not there yet, was collected, or its time is over").write(w)
			return
		}
		a.write(w)
	})
}
