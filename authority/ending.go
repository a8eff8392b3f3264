package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// A kill takes effect by arithmetic, with the one entry that says whom or what it ends (R2). That the tasks, holds and
// instances which rested on it have ended is written down besides: some at once, so that a small house sees all of it
// done, and the rest by Tick, little by little, so that what others ask is decided in between (R11).
var (
	endsAtOnce  = 256 // of one command
	sweptAtOnce = 16  // of one Tick: as much work as a handful of decisions, so that those wait little longer
)

// ending gathers the events of a command that end tasks, holds and instances: each ends once, however many reasons the
// command has for it. An end that stood twice in a log would be no log that Apply reads.
type ending struct {
	s      *State
	by     remit.ID
	events []remit.Event
	done   map[remit.ID]bool // tasks, holds and instances that have ended so far
	left   int               // ends that the command still has room for
}

func (s *State) ending(by remit.ID) *ending {
	return &ending{s: s, by: by, done: map[remit.ID]bool{}, left: endsAtOnce}
}

func (e *ending) once(id remit.ID, event remit.Event) {
	if !e.done[id] {
		e.done[id] = true
		e.left--
		e.events = append(e.events, event)
	}
}

func (e *ending) hold(id remit.ID, why remit.Code) {
	e.once(id, &remit.AccessMoved{Access: id, To: remit.AccessVoid, Why: why, By: e.by})
}

func (e *ending) instance(id remit.ID) { e.once(id, &remit.InstanceEnded{Instance: id}) }

// task ends a task and its descendants, with their holds and instances. What there is no room for dies with the task
// all the same, and is swept. What was killed before ends as killed, whatever else ends it meanwhile.
func (e *ending) task(id remit.ID, status remit.TaskStatus) {
	if e.done[id] {
		return
	}
	if _, killed := e.s.killed(e.s.Tasks[id]); killed {
		status = remit.TaskKilled
	}
	e.rest(id, status)
	e.once(id, &remit.TaskEnded{Task: id, Status: status, By: e.by})
}

// rest ends what a task has, not the task.
func (e *ending) rest(id remit.ID, status remit.TaskStatus) {
	t := e.s.Tasks[id]
	e.each(t.Children, func(child remit.ID) { e.task(child, status) })
	e.each(t.Holds, func(a remit.ID) { e.hold(a, remit.Dropped) })
	e.each(t.Instances, e.instance)
}

// each ends ids as long as there is room.
func (e *ending) each(ids []remit.ID, end func(remit.ID)) {
	for _, id := range ids {
		if e.left <= 0 {
			return
		}
		end(id)
	}
}

// first gives, in order, the first ids of lines that have not ended, as many as there is room for.
func (e *ending) first(lives func(remit.ID) bool, lines ...Line) []remit.ID {
	var out []remit.ID
	for _, l := range lines {
		for _, id := range l.IDs {
			if len(out) >= e.left {
				break
			}
			if lives(id) && !e.done[id] {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// agent ends the tasks of an agent.
func (e *ending) agent(name string) {
	e.each(e.first(e.s.taskOpen, e.s.Agents[name].Tasks), func(id remit.ID) { e.task(id, remit.TaskKilled) })
}

// person ends what a person requested, owns or launched, and what they asked of Remit itself.
func (e *ending) person(id remit.ID) {
	p := e.s.People[id]
	lines := []Line{p.Tasks}
	for _, name := range sorted(e.s.Agents) {
		if a := e.s.Agents[name]; a.Owner == id {
			lines = append(lines, a.Tasks)
		}
	}
	e.each(e.first(e.s.taskOpen, lines...), func(id remit.ID) { e.task(id, remit.TaskKilled) })
	e.each(e.first(e.s.holdOpen, p.Holds), e.asked)
	e.each(e.first(e.s.instanceRuns, p.Instances), e.instance) // last: an instance that ends with a hold open would leave its task waiting for it
}

// asked ends an access request whose asker has ended, unless it is being carried out.
func (e *ending) asked(id remit.ID) {
	if a := e.s.Accesses[id]; a.Status != remit.AccessReserved && !e.done[id] {
		e.hold(id, remit.Dropped)
		e.idle(a.Task, id)
	}
}

// all ends every task and every request, of whomever.
func (e *ending) all() {
	var tasks, holds []Line
	for _, name := range sorted(e.s.Agents) {
		tasks = append(tasks, e.s.Agents[name].Tasks)
	}
	for _, id := range sorted(e.s.People) {
		holds = append(holds, e.s.People[id].Holds)
	}
	e.each(e.first(e.s.taskOpen, tasks...), func(id remit.ID) { e.task(id, remit.TaskKilled) })
	e.each(e.first(e.s.holdOpen, holds...), func(id remit.ID) { e.hold(id, remit.Dropped) })
}

// idle ends a waiting task of which no hold and no live child is left. closed is a hold that another event of the command closes.
func (e *ending) idle(task, closed remit.ID) {
	e.done[closed] = true
	t := e.s.Tasks[task]
	if t == nil || !e.s.LiveTasks[task] || t.Status != remit.TaskWaiting {
		return
	}
	for _, h := range t.Holds {
		if !e.done[h] {
			return
		}
	}
	for _, child := range t.Children {
		if !e.done[child] {
			return
		}
	}
	e.task(task, remit.TaskCompleted)
}

// killed tells whether a task rests on an agent or a person that was ended after it was made, and by whom.
func (s *State) killed(t *Task) (by remit.ID, ok bool) {
	agent, requester := s.Agents[t.Agent], s.People[t.Requester]
	switch {
	case t.Cut.Entry != 0:
		return t.Cut.By, true
	case s.dead(t.Entry, agent.Ended):
		return agent.Ended.By, true
	case requester == nil, s.dead(t.Entry, requester.Ended):
		return requester.Ended.By, true
	}
	return "", false
}

// fate is how a task ends that is no longer alive at t, and by whom: as what is above it, killed, or expired. Empty: it
// is alive (R2).
func (s *State) fate(t *Task, now int64) (remit.TaskStatus, remit.ID) {
	if parent := s.Tasks[t.Parent]; parent != nil {
		if !s.LiveTasks[parent.ID] {
			return parent.Status, ""
		}
		if status, by := s.fate(parent, now); status != "" {
			return status, by
		}
	}
	if by, killed := s.killed(t); killed {
		return remit.TaskKilled, by
	}
	if now >= t.Deadline || !s.agentLive(t.Agent, now) || !s.personLive(t.Requester) {
		return remit.TaskExpired, ""
	}
	return "", ""
}

// decideTick writes down what has ended already, so that effects start: tasks of which something behind them is no
// longer alive, with what is left of those that ended; holds whose time or asker is over; and a solo profile's own vote
// whose delay is. It is done when it has nothing to say.
func decideTick(s *State, now int64) []remit.Event {
	end := s.ending("")
	end.left = sweptAtOnce
	waiting := slices.Clone(s.Loose) // tasks that may wait for nothing any more
	for _, id := range s.Loose {
		if !s.LiveTasks[id] {
			end.rest(id, s.Tasks[id].Status)
		}
	}
	end.each(slices.Concat(s.Cut, s.ended(now, end.left)), func(id remit.ID) {
		var status remit.TaskStatus
		status, end.by = s.fate(s.Tasks[id], now)
		end.task(id, status)
		waiting = add(waiting, s.Tasks[id].Parent)
	})
	holds, instances := s.asked(now, end.left)
	end.each(holds, func(id remit.ID) {
		switch a := s.Accesses[id]; {
		case end.done[id], a.Status == remit.AccessReserved, a.Task != "" && !s.TaskLive(a.Task, now): // it ends with its task
		case !s.since(a.asker(), a.Entry):
			end.by = s.People[a.asker()].Ended.By
			end.hold(id, remit.Dropped)
			waiting = add(waiting, a.Task)
		case now >= a.NotAfter:
			end.by = ""
			end.hold(id, remit.Expired)
			waiting = add(waiting, a.Task)
		case a.Status == remit.AccessOpen && a.SelfAt != 0:
			if el := s.electorateOf(a, now); el.met(s.standing(a, el)) {
				end.events = append(end.events, &remit.AccessMoved{Access: id, To: remit.AccessMet})
			}
		}
	})
	end.by = ""
	end.each(instances, end.instance)
	for i := 0; i < len(waiting) && end.left > 0; i++ { // it grows: a parent may have waited for what ends here
		if id := waiting[i]; s.LiveTasks[id] && !end.done[id] {
			end.idle(id, "")
			if parent := s.Tasks[id].Parent; end.done[id] && parent > id {
				waiting = add(waiting, parent)
			}
		}
	}
	return end.events
}

// asked gathers, in order, the access requests that may have ended, or have come to count, by their time or with their
// asker, and the instances whose launcher has ended; at most n of those that ended with one person.
func (s *State) asked(now int64, n int) (holds, instances []remit.ID) {
	for _, id := range sorted(s.People) {
		p := s.People[id]
		front := func(l Line, made func(remit.ID) remit.EntryIndex, out []remit.ID) []remit.ID {
			for i, x := range l.IDs {
				m := made(x)
				if i >= n+l.Gone || m != 0 && s.since(id, m) {
					break
				}
				if m != 0 {
					out = append(out, x)
				}
			}
			return out
		}
		holds = front(p.Holds, func(x remit.ID) remit.EntryIndex {
			if !s.OpenHolds[x] {
				return 0
			}
			return s.Accesses[x].Entry
		}, holds)
		instances = front(p.Instances, func(x remit.ID) remit.EntryIndex {
			if i := s.Instances[x]; i != nil {
				return i.Entry
			}
			return 0
		}, instances)
	}
	s.Timers.due(now, func(id remit.ID) bool {
		if s.OpenHolds[id] {
			holds = append(holds, id)
		}
		return false
	})
	if s.Profile == remit.Solo {
		holds = append(holds, sorted(s.OpenHolds)...)
	}
	slices.Sort(holds)
	slices.Sort(instances)
	return slices.Compact(holds), instances
}

// Due tells whether a Tick at now would change anything.
func (s *State) Due(now int64) bool { return len(decideTick(s, now)) > 0 }
