package detect

import (
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

const (
	// UnusedTasks tasks over UnusedTime at least, none of which used it, show that a broad grant is not needed.
	UnusedTasks = 20
	UnusedTime  = 7 * 24 * time.Hour
)

// unusedGrant finds what an agent's tasks are granted over and over and never use, where it is broad: an action on
// everything below some name, or a privileged one. Each (action, pattern) counts by itself; a finding names the ends of the
// tasks that did not use one.
type unusedGrant struct {
	tasks  map[remit.ID]*granted
	agents map[string]map[line]*unused
}

// line is one action on one pattern of resources.
type line struct {
	action  remit.Action
	pattern remit.Pattern
}

type granted struct {
	agent string
	lines map[line]bool // used
	any   bool          // it decided something at all
}

// unused are the tasks in a row that did not use a line.
type unused struct {
	tasks int
	ends  []remit.EntryIndex // of the first of them
	since time.Time
	told  bool
}

func newUnusedGrant() *unusedGrant {
	return &unusedGrant{map[remit.ID]*granted{}, map[string]map[line]*unused{}}
}

func (u *unusedGrant) fold(e Entry) []Finding {
	switch ev := e.Event.(type) {
	case *remit.TaskCreated:
		g := &granted{agent: ev.Agent, lines: map[line]bool{}}
		for _, s := range ev.Grant {
			for _, a := range s.Actions {
				for _, p := range s.Resources {
					if broad(a, p) {
						g.lines[line{a, p}] = false
					}
				}
			}
		}
		u.tasks[ev.ID] = g
	case *remit.Decided:
		g := u.tasks[ev.Task]
		if g == nil || ev.Verdict == remit.Deny {
			return nil
		}
		g.any = true
		for _, s := range ev.Steps {
			for l := range g.lines {
				if l.action == s.Step.Action && l.pattern.Match(s.Step.Resource) {
					g.lines[l] = true
				}
			}
		}
	case *remit.AgentDeclared:
		delete(u.agents, ev.Name) // what it is entitled to may have changed
	case *remit.TaskEnded:
		return u.end(e, ev.Task)
	}
	return nil
}

// end counts a task that is over. A task that did nothing shows nothing.
func (u *unusedGrant) end(e Entry, id remit.ID) []Finding {
	g := u.tasks[id]
	delete(u.tasks, id)
	if g == nil || !g.any {
		return nil
	}
	of := u.agents[g.agent]
	if of == nil {
		of = map[line]*unused{}
		u.agents[g.agent] = of
	}
	ends, count := []remit.EntryIndex{e.Index}, 0
	for l, used := range g.lines {
		if used {
			delete(of, l)
			continue
		}
		n := of[l]
		if n == nil {
			n = &unused{since: e.At}
			of[l] = n
		}
		if n.tasks++; len(n.ends) < MaxEntries {
			n.ends = append(n.ends, e.Index)
		}
		if !n.told && n.tasks >= UnusedTasks && e.At.Sub(n.since) >= UnusedTime {
			n.told = true
			ends, count = append(ends, n.ends...), max(count, n.tasks)
		}
	}
	if count == 0 {
		return nil
	}
	return []Finding{{Detection: remit.UnusedGrant, Agent: g.agent, Task: id, Entries: some(ends), Count: count}}
}

func broad(a remit.Action, p remit.Pattern) bool {
	info, _ := remit.Lookup(a)
	return strings.HasSuffix(string(p), "*") || info.Impact == remit.Privileged
}
