package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

// AnswerLife is how long the answer to an approved request waits to be collected.
const AnswerLife = 10 * time.Minute

// What waits in memory is bounded: of one task, so that none keeps the others' answers out, and in all.
const (
	maxTaskAnswers = 16
	maxAnswers     = 1024
	maxAnswerBytes = 128 << 20
)

// Answer is what came back for an approved request that Remit carried out itself.
type Answer struct {
	Status      int // of HTTP, where the gateway speaks it
	ContentType string
	Body        []byte
}

// Answers keeps the answers to approved requests until they are collected, in memory only: after a restart there are
// none, and whoever waits has to ask again. An answer belongs to a task and to the digest of the stored order that its
// people approved; nobody else can name it.
type Answers struct {
	Now func() time.Time

	mu    sync.Mutex
	tasks map[remit.ID][]kept // in the order in which they came
	n     int
	bytes int
	came  chan struct{} // closed when the next one comes; nil while nobody waits
}

type kept struct {
	order  remit.Digest
	answer Answer
	until  time.Time
}

// Keep keeps the answer to an order of a task in place of one that is there. Where the task has too many, its oldest goes;
// where all of them are too many, this one is not kept, and whoever waits for it is told that there is none.
func (a *Answers) Keep(task remit.ID, order remit.Digest, v Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	for id := range a.tasks {
		a.drop(id, func(k kept) bool { return !now.Before(k.until) || id == task && k.order == order })
	}
	for len(a.tasks[task]) >= maxTaskAnswers {
		oldest := a.tasks[task][0].order
		a.drop(task, func(k kept) bool { return k.order == oldest })
	}
	if a.n >= maxAnswers || a.bytes+len(v.Body) > maxAnswerBytes {
		return
	}
	if a.tasks == nil {
		a.tasks = map[remit.ID][]kept{}
	}
	a.tasks[task] = append(a.tasks[task], kept{order, v, now.Add(AnswerLife)})
	a.n++
	a.bytes += len(v.Body)
	if a.came != nil {
		close(a.came)
		a.came = nil
	}
}

// Take gives an answer, once.
func (a *Answers) Take(task remit.ID, order remit.Digest) (Answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(task, order)
}

// Wait is Take of an answer that may still come, until ctx ends.
func (a *Answers) Wait(ctx context.Context, task remit.ID, order remit.Digest) (Answer, bool) {
	for {
		a.mu.Lock()
		v, ok := a.take(task, order)
		if a.came == nil {
			a.came = make(chan struct{})
		}
		came := a.came
		a.mu.Unlock()
		if ok {
			return v, true
		}
		select {
		case <-came:
		case <-ctx.Done():
			return Answer{}, false
		}
	}
}

// Any tells whether anything waits for a task. It is cheaper than making out what.
func (a *Answers) Any(task remit.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tasks[task]) > 0
}

func (a *Answers) take(task remit.ID, order remit.Digest) (v Answer, ok bool) {
	now := a.Now()
	a.drop(task, func(k kept) bool {
		if k.order != order {
			return false
		}
		v, ok = k.answer, now.Before(k.until)
		return true
	})
	if !ok {
		return Answer{}, false
	}
	return v, true
}

// drop removes what is asked for of a task.
func (a *Answers) drop(task remit.ID, which func(kept) bool) {
	var rest []kept
	for _, k := range a.tasks[task] {
		if !which(k) {
			rest = append(rest, k)
			continue
		}
		a.n--
		a.bytes -= len(k.answer.Body)
	}
	if len(rest) == 0 {
		delete(a.tasks, task)
		return
	}
	a.tasks[task] = rest
}
