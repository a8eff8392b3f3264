package authority_test

import "github.com/remit-dev/remit/internal/mutant"

// sweepMutants are the rules of what ends by arithmetic and is written down later, broken one at a time.
var sweepMutants = []mutant.Mutant{
	{"ending.go", "sweep: a command writes down a few ends", "if e.left <= 0 {", "if false {"},
	{"ending.go", "sweep: a Tick writes down a few ends", "end.left = sweptAtOnce", "_ = sweptAtOnce"},
	{"ending.go", "sweep: what an ended agent had is dead", "case s.dead(t.Entry, agent.Ended):", "case false:"},
	{"ending.go", "sweep: what an ended person had is dead", "s.dead(t.Entry, requester.Ended):", "false:"},
	{"ending.go", "sweep: children die with their parent", "if !s.LiveTasks[parent.ID] {", "if false {"},
	{"ending.go", "sweep: and with what ends that", "status, by := s.fate(parent, now); status != \"\"", "status, by := s.fate(parent, now); false"},
	{"ending.go", "sweep: killed before all else", "if _, killed := e.s.killed(e.s.Tasks[id]); killed {", "if false {"},
	{"ending.go", "sweep: the rest of what ended", "end.rest(id, s.Tasks[id].Status)", "_ = id"},
	{"ending.go", "sweep: requests of who ended", "case !s.since(a.asker(), a.Entry):", "case false:"},
	{"ending.go", "sweep: instances of who ended", "end.each(instances, end.instance)", "_ = instances"},
	{"ending.go", "sweep: in whose name", "status, end.by = s.fate(s.Tasks[id], now)", "status, _ = s.fate(s.Tasks[id], now)"},
	{"index.go", "sweep: dead is what came before", "return made < max(ended.Entry, s.Fork.Entry)", "return made < s.Fork.Entry"},
	{"index.go", "sweep: a fork ends all", "return made < max(ended.Entry, s.Fork.Entry)", "return made < ended.Entry"},
	{"index.go", "sweep: what came after lives", "return made < max(ended.Entry, s.Fork.Entry)", "return max(ended.Entry, s.Fork.Entry) > 0"},
	{"index.go", "sweep: who was declared again", " && !s.dead(made, s.People[id].Ended)", ""},
	{"index.go", "sweep: deadlines", "if s.LiveTasks[id] && len(out) < n {", "if false {"},
	{"index.go", "sweep: requests rest on their task", "(a.Task == \"\" || s.TaskLive(a.Task, t)) && ", ""},
	{"index.go", "sweep: requests rest on who asked", " && s.since(a.asker(), a.Entry)\n", "\n"},
	{"index.go", "sweep: a parent knows its children", "p.Children = add(p.Children, t.ID)", "_ = p"},
	{"index.go", "sweep: a parent forgets its children", "p.Children = drop(p.Children, t.ID)", "_ = p"},
	{"apply.go", "sweep: a suspended agent ends for good", "a.Ended = Change{e.By, n}\n\t\t}", "}"},
	{"apply.go", "sweep: a removed agent ends for good", "a.Status, a.Ended = remit.AgentRetired, Change{e.By, n}", "a.Status = remit.AgentRetired"},
	{"apply.go", "sweep: a person's agents end for good", "if a := s.Agents[name]; a.Owner == p.ID {", "if a := s.Agents[name]; false {"},
	{"apply.go", "sweep: a killed person ends for good", "p.Killed = true\n\t\ts.endPerson(p, Change{e.By, n})", "p.Killed = true"},
	{"apply.go", "sweep: a removed person ends for good", "p.Removed = true\n\t\ts.endPerson(p, Change{e.By, n})", "p.Removed = true"},
	{"vote.go", "sweep: no votes on what has ended", "if !s.stands(a, now) {", "if false {"},
	{"hold.go", "sweep: a request that is dead is asked anew", " && s.stands(a, now) || a.Status", " || a.Status"},
	{"hold.go", "sweep: no permit of a dead request", "if !s.stands(a, now) {", "if false {"},
	{"authorize.go", "sweep: no claim of a dead request", "if !s.stands(a, now) {", "if false {"},
	{"set.go", "sweep: no control step on a dead request", " || !s.since(c.by, access.Entry) {", " {"},
	{"set.go", "sweep: nor is it asked for again", " && s.since(a.By, a.Entry) {", " {"},
	{"decide.go", "sweep: what is dead is not completed", "if status != \"\" && status != remit.TaskExpired || !s.LiveTasks[c.Task] {", "if !s.LiveTasks[c.Task] {"},
}
