package authority

import "github.com/remit-dev/remit"

// ending gathers the events of a command that end tasks, holds and instances: each ends once, however many reasons the
// command has for it. An end that stood twice in a log would be no log that Apply reads.
type ending struct {
	s      *State
	by     remit.ID
	events []remit.Event
	done   map[remit.ID]bool // tasks, holds and instances that have ended so far
}

func (s *State) ending(by remit.ID) *ending { return &ending{s: s, by: by, done: map[remit.ID]bool{}} }

func (e *ending) once(id remit.ID, event remit.Event) {
	if !e.done[id] {
		e.done[id] = true
		e.events = append(e.events, event)
	}
}

func (e *ending) hold(id remit.ID, why remit.Code) {
	e.once(id, &remit.AccessMoved{Access: id, To: remit.AccessVoid, Why: why, By: e.by})
}

func (e *ending) instance(id remit.ID) { e.once(id, &remit.InstanceEnded{Instance: id}) }

// task ends a task and its descendants, with their holds and instances.
func (e *ending) task(id remit.ID, status remit.TaskStatus) {
	if e.done[id] {
		return
	}
	for _, child := range sorted(e.s.LiveTasks) {
		if e.s.Tasks[child].Parent == id {
			e.task(child, status)
		}
	}
	for _, a := range e.s.HoldsOf(id) {
		e.hold(a, remit.Dropped)
	}
	for _, i := range e.s.InstancesOf(id) {
		e.instance(i)
	}
	e.once(id, &remit.TaskEnded{Task: id, Status: status, By: e.by})
}

// tasks ends every live task that dead names.
func (e *ending) tasks(status remit.TaskStatus, dead func(*Task) bool) {
	for _, id := range sorted(e.s.LiveTasks) {
		if dead(e.s.Tasks[id]) {
			e.task(id, status)
		}
	}
}

// launchedBy ends the instances that a person launched.
func (e *ending) launchedBy(person remit.ID) {
	for _, id := range sorted(e.s.Instances) {
		if e.s.Instances[id].Launcher == person {
			e.instance(id)
		}
	}
}

// idle ends a waiting task of which no hold and no live child is left. closed is a hold that another event of the command closes.
func (e *ending) idle(task, closed remit.ID) {
	e.done[closed] = true
	t := e.s.Tasks[task]
	if t == nil || !e.s.LiveTasks[task] || t.Status != remit.TaskWaiting {
		return
	}
	for _, h := range e.s.HoldsOf(task) {
		if !e.done[h] {
			return
		}
	}
	for _, child := range e.s.childrenOf(task) {
		if !e.done[child] {
			return
		}
	}
	e.task(task, remit.TaskCompleted)
}

// person ends what a person requested, owns or launched, and what they asked of Remit itself.
func (e *ending) person(id remit.ID, status remit.TaskStatus) {
	e.tasks(status, func(t *Task) bool { return t.Requester == id || e.s.Agents[t.Agent].Owner == id })
	for _, h := range sorted(e.s.OpenHolds) {
		a := e.s.Accesses[h]
		switch {
		case a.By == id:
			e.hold(h, remit.Dropped)
		case a.Launcher == id && a.Status != remit.AccessReserved:
			e.hold(h, remit.Dropped)
			e.idle(a.Task, h)
		}
	}
	e.launchedBy(id) // last: an instance that ends with a hold open would leave its task waiting for it
}
