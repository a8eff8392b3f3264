package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// What follows finds what ends without looking at all that lives. Apply keeps it, so it is the same in every copy of a
// state.

// Line is ids in the order in which they came. Those that have ended leave the front at once, and the rest of the line
// when they are half of it: an end costs the same however long the line is.
type Line struct {
	IDs  []remit.ID
	Gone int // of IDs, that have ended
}

func (l *Line) join(id remit.ID) { l.IDs = append(l.IDs, id) }

// leave is called once for each id, after it has ended.
func (l *Line) leave(lives func(remit.ID) bool) {
	l.Gone++
	for len(l.IDs) > 0 && !lives(l.IDs[0]) {
		l.IDs = l.IDs[1:]
		l.Gone--
	}
	if 2*l.Gone > len(l.IDs) {
		l.IDs = slices.DeleteFunc(l.IDs, func(id remit.ID) bool { return !lives(id) })
		l.Gone = 0
	}
}

// Timer is when a task or an open access request ends by its own time.
type Timer struct {
	At int64
	ID remit.ID
}

// Timers is a heap: none is before the one at half its index. Those whose task or request has ended already stay until
// they come to the front, or are half of all.
type Timers struct {
	Heap []Timer
	Gone int
}

func (t *Timers) add(at int64, id remit.ID) {
	t.Heap = append(t.Heap, Timer{at, id})
	for i := len(t.Heap) - 1; i > 0 && t.Heap[i].At < t.Heap[(i-1)/2].At; i = (i - 1) / 2 {
		t.Heap[i], t.Heap[(i-1)/2] = t.Heap[(i-1)/2], t.Heap[i]
	}
}

// down puts the timer at i in its place among those after it.
func (t *Timers) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(t.Heap); c++ {
			if t.Heap[c].At < t.Heap[least].At {
				least = c
			}
		}
		if least == i {
			return
		}
		t.Heap[i], t.Heap[least] = t.Heap[least], t.Heap[i]
		i = least
	}
}

// stop is called once for each timer, after what it is of has ended.
func (t *Timers) stop(lives func(remit.ID) bool) {
	t.Gone++
	for len(t.Heap) > 0 && !lives(t.Heap[0].ID) {
		last := len(t.Heap) - 1
		t.Heap[0], t.Heap = t.Heap[last], t.Heap[:last]
		t.Gone--
		t.down(0)
	}
	if 2*t.Gone > len(t.Heap) {
		t.Heap = slices.DeleteFunc(t.Heap, func(x Timer) bool { return !lives(x.ID) })
		t.Gone = 0
		for i := len(t.Heap)/2 - 1; i >= 0; i-- {
			t.down(i)
		}
	}
}

// due visits timers whose time has come until one says that it is enough. Of the others it sees only those right after.
func (t *Timers) due(now int64, enough func(remit.ID) bool) {
	for todo := []int{0}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i < len(t.Heap) && now >= t.Heap[i].At {
			if enough(t.Heap[i].ID) {
				return
			}
			todo = append(todo, 2*i+2, 2*i+1)
		}
	}
}

func (s *State) taskOpen(id remit.ID) bool     { return s.LiveTasks[id] }
func (s *State) instanceRuns(id remit.ID) bool { return s.Instances[id] != nil }
func (s *State) holdOpen(id remit.ID) bool     { return s.OpenHolds[id] }
func (s *State) timed(id remit.ID) bool        { return s.LiveTasks[id] || s.OpenHolds[id] }

// drop takes id out of a sorted set.
func drop(set []remit.ID, id remit.ID) []remit.ID {
	if i, found := slices.BinarySearch(set, id); found {
		return slices.Delete(set, i, i+1)
	}
	return set
}

// indexTask takes up a new task.
func (s *State) indexTask(t *Task) {
	s.Agents[t.Agent].Tasks.join(t.ID)
	if p := s.People[t.Requester]; p != nil {
		p.Tasks.join(t.ID)
	}
	if p := s.Tasks[t.Parent]; p != nil {
		p.Children = add(p.Children, t.ID)
		s.tidy(p)
	}
	s.Timers.add(t.Deadline, t.ID)
}

// forgetTask lets a task go that is no longer in LiveTasks.
func (s *State) forgetTask(t *Task) {
	s.Agents[t.Agent].Tasks.leave(s.taskOpen)
	if p := s.People[t.Requester]; p != nil {
		p.Tasks.leave(s.taskOpen)
	}
	if p := s.Tasks[t.Parent]; p != nil {
		p.Children = drop(p.Children, t.ID)
		s.tidy(p)
	}
	s.Timers.stop(s.timed)
	s.tidy(t)
}

func (s *State) indexInstance(i *Instance) {
	t := s.Tasks[i.Task]
	t.Instances = add(t.Instances, i.ID)
	if p := s.People[i.Launcher]; p != nil {
		p.Instances.join(i.ID)
	}
	s.tidy(t)
}

// forgetInstance lets an instance go that is no longer in Instances.
func (s *State) forgetInstance(i *Instance) {
	t := s.Tasks[i.Task]
	t.Instances = drop(t.Instances, i.ID)
	if p := s.People[i.Launcher]; p != nil {
		p.Instances.leave(s.instanceRuns)
	}
	s.tidy(t)
}

// asker is whose request it is: who launched what asked, or who asked for a control step.
func (a *Access) asker() remit.ID {
	if a.Task == "" {
		return a.By
	}
	return a.Launcher
}

func (s *State) indexAccess(a *Access) {
	if t := s.Tasks[a.Task]; t != nil {
		t.Holds = add(t.Holds, a.ID)
		s.tidy(t)
	}
	if p := s.People[a.asker()]; p != nil {
		p.Holds.join(a.ID)
	}
	s.Timers.add(a.NotAfter, a.ID)
}

// forgetAccess lets an access request go that is no longer in OpenHolds.
func (s *State) forgetAccess(a *Access) {
	if t := s.Tasks[a.Task]; t != nil {
		t.Holds = drop(t.Holds, a.ID)
		s.tidy(t)
	}
	if p := s.People[a.asker()]; p != nil {
		p.Holds.leave(s.holdOpen)
	}
	s.Timers.stop(s.timed)
}

// tidy notes whether the next Tick has to do with a task whatever the time: it waits for nothing any more, or it has
// ended and something of it has not.
func (s *State) tidy(t *Task) {
	waits := len(t.Holds)+len(t.Children) > 0
	if s.LiveTasks[t.ID] && t.Status == remit.TaskWaiting && !waits || !s.LiveTasks[t.ID] && (waits || len(t.Instances) > 0) {
		s.Loose = add(s.Loose, t.ID)
	} else {
		s.Loose = drop(s.Loose, t.ID)
	}
}

// dead tells whether what was made by an entry is dead for good because of an end: what it rests on ended later, or the
// log went on from a backup since. Nothing brings it back, neither a resumed agent nor a person who is declared again.
func (s *State) dead(made remit.EntryIndex, ended Change) bool {
	return made < max(ended.Entry, s.Fork.Entry)
}

// since tells whether a person is alive, and was all the time since an entry. Nobody is alive: CI jobs and executors
// have no person.
func (s *State) since(id remit.ID, made remit.EntryIndex) bool {
	return id == "" || s.personLive(id) && !s.dead(made, s.People[id].Ended)
}

// stands tells whether what an access request is for is alive, and who asked.
func (s *State) stands(a *Access, t int64) bool {
	return (a.Task == "" || s.TaskLive(a.Task, t)) && s.since(a.asker(), a.Entry)
}

// ended gathers, in order, the first tasks whose authority has ended; at most n.
func (s *State) ended(now int64, n int) []remit.ID {
	var out []remit.ID
	take := func(l Line, ended Change, all bool) {
		for _, id := range l.IDs {
			if len(out) >= n || !all && !s.dead(s.Tasks[id].Entry, ended) {
				return // who came later was made later
			}
			if s.LiveTasks[id] {
				out = append(out, id)
			}
		}
	}
	for _, name := range sorted(s.Agents) {
		a := s.Agents[name]
		take(a.Tasks, a.Ended, !s.agentLive(name, now))
	}
	for _, id := range sorted(s.People) {
		take(s.People[id].Tasks, s.People[id].Ended, !s.personLive(id))
	}
	s.Timers.due(now, func(id remit.ID) bool {
		if s.LiveTasks[id] && len(out) < n {
			out = append(out, id)
		}
		return len(out) >= n
	})
	slices.Sort(out)
	return slices.Compact(out)
}
