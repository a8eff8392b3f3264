package authzen_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/authzen"
)

// desk is people in memory.
type desk struct {
	all    []*authzen.Held
	tasks  map[remit.ID]remit.ID
	cards  []string
	opens  remit.Decision // what Open decides, if not a hold
	uses   remit.Decision // what Use decides
	used   int
	end    time.Time // of requests
	useEnd time.Time // of what is let through
	err    error
	most   int // open at one time; 0: any number
}

func (d *desk) Open(_ context.Context, c remit.Caller, _ authzen.Question, order, card []byte) (remit.Decision, error) {
	if d.err != nil || d.opens.Verdict != remit.Deny || d.opens.Code != "" {
		return d.opens, d.err
	}
	if open := slices.DeleteFunc(slices.Clone(d.all), func(h *authzen.Held) bool { return h.Status != remit.AccessOpen }); d.most > 0 && len(open) >= d.most {
		return remit.Decision{Verdict: remit.Deny, Code: remit.TooManyHolds, Sentence: "the task has as many open holds as it may"}, nil
	}
	id := remit.ID(fmt.Sprintf("A-%d", len(d.all)+1))
	d.all = append(d.all, &authzen.Held{Access: id, Status: remit.AccessOpen, NotAfter: d.end, Order: order, URL: "https://remit.example/approve/" + string(id)})
	if d.tasks == nil {
		d.tasks = map[remit.ID]remit.ID{}
	}
	d.tasks[id] = c.Task
	d.cards = append(d.cards, string(card))
	return remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: id, Entry: 9}, nil
}

func (d *desk) find(c remit.Caller, id remit.ID) (*authzen.Held, error) {
	for _, h := range d.all {
		if h.Access == id && d.tasks[id] == c.Task {
			return h, nil
		}
	}
	return nil, remit.Errorf(remit.NotFound, "there is no access request %s of your task", id)
}

func (d *desk) Look(_ context.Context, c remit.Caller, id remit.ID) (authzen.Held, error) {
	h, err := d.find(c, id)
	if err != nil {
		return authzen.Held{}, err
	}
	return *h, nil
}

func (d *desk) Of(_ context.Context, c remit.Caller) (out []authzen.Held, _ error) {
	for _, h := range slices.Backward(d.all) {
		if d.tasks[h.Access] == c.Task {
			out = append(out, *h)
		}
	}
	return out, nil
}

func (d *desk) Use(_ context.Context, c remit.Caller, _ authzen.Question, id remit.ID) (remit.Decision, time.Time, error) {
	h, err := d.find(c, id)
	if err != nil {
		return remit.Decision{}, time.Time{}, err
	}
	if h.Status != remit.AccessMet {
		return remit.Decision{}, time.Time{}, remit.Errorf(remit.AlreadyUsed, "%s is %s", id, h.Status)
	}
	d.used++
	if d.uses.Verdict == remit.Allow {
		h.Status = remit.AccessUsed
	}
	return d.uses, d.useEnd, nil
}

func (d *desk) Cancel(_ context.Context, c remit.Caller, id remit.ID) error {
	h, err := d.find(c, id)
	if err != nil {
		return err
	}
	h.Status, h.Why = remit.AccessVoid, remit.Superseded
	return nil
}
