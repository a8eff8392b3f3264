package detect

import (
	"time"

	"github.com/remit-dev/remit"
)

// EndGrace is for what was under way when its instance ended.
const EndGrace = time.Minute

// instanceTwice finds work done twice over under one identity: two instances of a task that live at once on different
// hosts, or a decision under an instance that has ended. The log has a keyed digest of each instance's host, and no host
// of a single request, so this is what it can show. CI jobs are left out: their runners are many, and no token of a job
// starts two instances.
type instanceTwice struct {
	live  map[remit.ID]running
	ended map[remit.ID]sight
	order []remit.ID // of ended, oldest first
	told  map[remit.ID]bool
}

// running is an instance that lives, and the entry in which it started.
type running struct {
	*remit.InstanceStarted
	entry remit.EntryIndex
}

func newInstanceTwice() *instanceTwice {
	return &instanceTwice{live: map[remit.ID]running{}, ended: map[remit.ID]sight{}, told: map[remit.ID]bool{}}
}

// maxEnded is how many ended instances are remembered.
const maxEnded = 10_000

func (t *instanceTwice) fold(e Entry) []Finding {
	switch ev := e.Event.(type) {
	case *remit.InstanceStarted:
		return t.start(e, ev)
	case *remit.InstanceEnded:
		t.end(ev.Instance, e)
	case *remit.TaskEnded: // its instances end with it, without an entry of their own
		for id, i := range t.live {
			if i.Task == ev.Task {
				t.end(id, e)
			}
		}
	case *remit.Decided:
		end, over := t.ended[ev.Instance]
		if ev.Instance == "" || ev.Executor != "" || !over || e.At.Sub(end.at) <= EndGrace || t.told[ev.Instance] {
			return nil
		}
		t.told[ev.Instance] = true
		return []Finding{found(remit.InstanceTwice, ev, []remit.EntryIndex{end.entry, e.Index}, 2)}
	}
	return nil
}

func (t *instanceTwice) start(e Entry, ev *remit.InstanceStarted) []Finding {
	starts := []remit.EntryIndex{e.Index}
	if ev.Issuer == "" && !ev.Host.IsZero() {
		for _, i := range t.live {
			if i.Task == ev.Task && i.Issuer == "" && !i.Host.IsZero() && i.Host != ev.Host {
				starts = append(starts, i.entry)
			}
		}
	}
	t.live[ev.ID] = running{ev, e.Index}
	if len(starts) == 1 {
		return nil
	}
	f := found(remit.InstanceTwice, nil, starts, len(starts))
	f.Agent, f.Task, f.Instance = ev.Agent, ev.Task, ev.ID
	return []Finding{f}
}

func (t *instanceTwice) end(id remit.ID, e Entry) {
	delete(t.live, id)
	if _, known := t.ended[id]; known {
		return
	}
	t.ended[id] = sight{at: e.At, entry: e.Index}
	if t.order = append(t.order, id); len(t.order) > maxEnded {
		delete(t.ended, t.order[0])
		delete(t.told, t.order[0])
		t.order = t.order[1:]
	}
}

const (
	// HoursDays is on how many days a person's tasks must have been at work before their hours are known: one finding of
	// every first evening is one that nobody reads.
	HoursDays = 10
	// HoursMemory is how long an hour counts as theirs.
	HoursMemory = 60 * 24 * time.Hour
)

// outsideHours finds work at an hour of the day (UTC) at which the tasks of the same requester never worked before, nor
// in the hour before or after it. What is done on the same day counts from the next day on, so that an intruder's first
// hour does not excuse the second.
type outsideHours struct {
	requester map[remit.ID]remit.ID // of tasks that have not ended
	people    map[remit.ID]*hours
	told      map[remit.ID]bool // tasks; one finding is enough
}

type hours struct {
	last  [24]time.Time // when each hour was last worked in, before today
	today [24]bool
	day   time.Time
	days  int
}

func newOutsideHours() *outsideHours {
	return &outsideHours{requester: map[remit.ID]remit.ID{}, people: map[remit.ID]*hours{}, told: map[remit.ID]bool{}}
}

func (o *outsideHours) fold(e Entry) []Finding {
	switch ev := e.Event.(type) {
	case *remit.TaskCreated:
		o.requester[ev.ID] = ev.Requester
	case *remit.TaskEnded:
		delete(o.requester, ev.Task)
		delete(o.told, ev.Task)
	case *remit.Decided:
		person := o.requester[ev.Task]
		if person == "" || ev.Executor != "" || ev.Instance == "" {
			return nil // an executor works when people have voted
		}
		h := o.people[person]
		if h == nil {
			h = &hours{}
			o.people[person] = h
		}
		if !h.work(e.At.UTC()) || o.told[ev.Task] {
			return nil
		}
		o.told[ev.Task] = true
		return []Finding{found(remit.OutsideHours, ev, []remit.EntryIndex{e.Index}, 1)}
	}
	return nil
}

// work takes one decision at a time, and tells whether it lies outside the known hours.
func (h *hours) work(at time.Time) bool {
	if day := at.Truncate(24 * time.Hour); !day.Equal(h.day) {
		for i, worked := range h.today {
			if worked {
				h.last[i] = h.day.Add(time.Duration(i) * time.Hour)
			}
		}
		if !h.day.IsZero() {
			h.days++
		}
		h.day, h.today = day, [24]bool{}
	}
	h.today[at.Hour()] = true
	if h.days < HoursDays {
		return false
	}
	for _, near := range []int{23, 0, 1} {
		if last := h.last[(at.Hour()+near)%24]; !last.IsZero() && at.Sub(last) <= HoursMemory {
			return false
		}
	}
	return true
}
