package authority_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/ledger"
)

// again folds the log into a state of its own.
func (w *world) again() *world {
	w.t.Helper()
	o := &world{t: w.t, s: authority.New(), now: w.now, quick: true}
	for _, e := range w.log {
		l, err := ledger.Decode(e.bytes)
		if err == nil {
			err = authority.Apply(o.s, e.at, l.Event)
		}
		if err != nil {
			w.t.Fatalf("%v", err)
		}
	}
	return o
}

// settle ticks until nothing is due, and gives what is left of tasks, instances and access requests.
func (w *world) settle() string {
	w.t.Helper()
	for n := 0; w.s.Due(w.now.UnixNano()); n++ {
		if w.tick(); n > 10_000 {
			w.t.Fatalf("it is always due")
		}
	}
	type end struct {
		Status any
		Why    remit.Code
	}
	left := struct {
		Ends                    map[remit.ID]end
		Tasks, Instances, Holds []remit.ID
	}{map[remit.ID]end{}, ids(w.s.LiveTasks), ids(w.s.Instances), ids(w.s.OpenHolds)}
	for id, t := range w.s.Tasks {
		left.Ends[id] = end{Status: t.Status}
	}
	for id, a := range w.s.Accesses {
		left.Ends[id] = end{a.Status, a.Why}
	}
	b, err := json.Marshal(left)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return string(b)
}

// end is a command that ends much. What it leaves for Ticks comes out as if it had ended all at once, and what the
// history does meanwhile is judged with all the rest.
func (h *history) endMuch(c authority.Command) {
	h.t.Helper()
	once := h.again()
	h.try(c)
	little := h.again().settle()
	defer authority.SetEnds(1<<20, 1<<20)()
	_, _ = once.do(c)
	if all := once.settle(); all != little {
		h.t.Fatalf("%T %+v\nat once:          %s\nlittle by little: %s", c, c, all, little)
	}
}

// comeBack declares everybody again who was removed.
func (h *history) comeBack() {
	s := clone(h.set)
	for _, p := range declarations().People {
		if !slices.ContainsFunc(s.People, func(o remit.PersonDeclared) bool { return o.ID == p.ID }) {
			s.People = append(s.People, p)
		}
	}
	s.Groups = slices.Clone(declarations().Groups)
	by := pick(h.r, "admin", []remit.ID{"p-ada", "p-bob"})
	n := len(h.log)
	res := h.try(&authority.ApplySet{By: by, Set: s})
	if res.Decision.Verdict == remit.Hold {
		h.sets[res.Decision.Access] = s
		other := map[remit.ID]string{"p-ada": "bob", "p-bob": "ada"}[by]
		h.try(h.ballot(res.Decision.Access, other, touch(other), true))
		n = len(h.log)
		h.try(&authority.ApplySet{By: by, Set: s, Access: res.Decision.Access})
	}
	for _, l := range h.log[n:] {
		if _, ok := l.event.(*remit.Applied); ok {
			h.set = s
		}
	}
}

// much ends a person, an agent or everything, in one of the ways that there are.
func (h *history) much() {
	admin, who := pick(h.r, "admin", []remit.ID{"p-ada", "p-bob"}), pick(h.r, "who", []remit.ID{"p-mia", "p-noa", "p-tom", "p-sam"})
	agent := pick(h.r, "agent", ids(map[remit.ID]bool{"coder": true, "helper": true, "merger": true, "pilot": true, "planner": true}))
	switch rapid.IntRange(0, 9).Draw(h.r, "much") {
	case 0:
		h.endMuch(&authority.Kill{By: admin, What: "person", ID: who})
	case 1, 2:
		h.endMuch(&authority.Kill{By: admin, What: "agent", ID: agent})
	case 3, 4:
		h.endMuch(&authority.ChangeAgent{By: admin, Agent: string(agent), To: remit.AgentSuspended})
	case 5:
		s := clone(h.set)
		without(who)(&s)
		n := len(h.log)
		h.endMuch(&authority.ApplySet{By: admin, Set: s})
		for _, l := range h.log[n:] {
			if _, ok := l.event.(*remit.Applied); ok {
				h.set = s
			}
		}
	case 6:
		if t := ids(h.s.LiveTasks); len(t) > 0 {
			h.endMuch(&authority.Kill{By: admin, What: "task", ID: pick(h.r, "task", t)})
		}
	case 7:
		h.later(time.Duration(pick(h.r, "hours", []int{1, 8, 24})) * time.Hour)
		h.endMuch(&authority.Tick{})
	case 8:
		h.endMuch(h.restore(nil, touch("ada"), touch("bob")))
	case 9:
		h.try(&authority.ChangeAgent{By: admin, Agent: string(agent), To: remit.AgentActive})
	}
}

// TestSweeps: histories in which a command writes down two ends and a Tick one, so that much of what has ended is still
// to be swept whatever comes.
func TestSweeps(t *testing.T) {
	defer authority.SetEnds(2, 1)()
	swept := 0
	rapid.Check(t, func(r *rapid.T) {
		h := &history{world: newWorld(r, pick(r, "profile", []remit.Profile{remit.Team, remit.Team, remit.Solo}), family), r: r, check: judge.New(),
			requests: map[remit.ID]remit.Request{}, sets: map[remit.ID]authority.Set{}, wishes: map[remit.Digest]remit.Child{}}
		h.policy, h.quick = h.policyOf, true
		moves := []func(){h.newTask, h.newTask, h.push, h.push, h.push, h.other, h.cast, h.carry, h.claimOne, h.spend, h.spend, h.record, h.lease,
			h.relate, h.grow, h.grow, h.bear, h.work, h.much, h.much, h.comeBack, h.end, func() {
				if len(h.s.Tasks) > 0 {
					h.start(pick(h.r, "task", ids(h.s.Tasks)))
				}
			}, func() {
				if h.s.Due(h.now.UnixNano()) {
					swept++
					h.try(&authority.Tick{})
				}
			}}
		for i := range 60 {
			if i < 4 {
				h.newTask()
				continue
			}
			moves[rapid.IntRange(0, len(moves)-1).Draw(r, "move")]()
		}
		h.replay()
	})
	if swept == 0 && !t.Failed() {
		t.Error("nothing was ever left to sweep")
	}
}
