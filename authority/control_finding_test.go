package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// find is a finding of the coder.
func find(entries ...remit.EntryIndex) *authority.RecordFinding {
	return &authority.RecordFinding{Detection: "denial-burst", Agent: "coder", Entries: entries, Count: len(entries)}
}

func TestFinding(t *testing.T) {
	found := func(w *world) (n int) {
		for _, e := range w.log {
			if _, ok := e.event.(*remit.Found); ok {
				n++
			}
		}
		return n
	}
	each(t, remit.Team, []row{
		{"what it names is here", func(t *testing.T, w *world) {
			c := w.task("coder", "p-noa")
			last := w.s.Next - 1
			bad := func(code remit.Code, words string, change func(*authority.RecordFinding)) {
				t.Helper()
				f := find(3, 4)
				change(f)
				w.refuse(f, code, words)
			}
			bad(remit.BadRequest, "a-z 0-9", func(f *authority.RecordFinding) { f.Detection = "Burst" })
			bad(remit.BadRequest, "a-z 0-9", func(f *authority.RecordFinding) { f.Detection = "" })
			bad(remit.UnknownPrincipal, "no agent", func(f *authority.RecordFinding) { f.Agent = "nobody" })
			bad(remit.NotFound, "no task", func(f *authority.RecordFinding) { f.Task = "T-999" })
			for _, id := range []remit.ID{"I-999", "I-07", "x", "T-1"} {
				bad(remit.NotFound, "no instance", func(f *authority.RecordFinding) { f.Instance = id })
			}
			bad(remit.BadRequest, "1 to 16 entries", func(f *authority.RecordFinding) { f.Entries = nil })
			bad(remit.BadRequest, "1 to 16 entries", func(f *authority.RecordFinding) { f.Count = 1 })
			bad(remit.BadRequest, "in their order", func(f *authority.RecordFinding) { f.Entries = []remit.EntryIndex{4, 4} })
			bad(remit.BadRequest, "in their order", func(f *authority.RecordFinding) { f.Entries = []remit.EntryIndex{4, 3} })
			bad(remit.BadRequest, "in their order", func(f *authority.RecordFinding) { f.Entries = []remit.EntryIndex{4, last + 1} })
			many := find()
			for i := range remit.EntryIndex(17) {
				many.Entries = append(many.Entries, i)
			}
			many.Count = 17
			w.refuse(many, remit.BadRequest, "1 to 16 entries")
			f := find(3, last)
			f.Task, f.Instance, f.Count = c.Task, c.Instance, 40
			if w.must(f).ID == "" || found(w) != 1 || w.s.Agents["coder"].Status != remit.AgentActive || !w.s.LiveTasks[c.Task] {
				t.Fatal("it is recorded, and a detection that nobody let suspends nobody")
			}
		}},
		{"once for each detection, agent and day, and never twice for the same", func(t *testing.T, w *world) {
			w.must(find(4))
			for _, f := range []*authority.RecordFinding{find(4), find(5), find(3)} {
				if res := w.must(f); res.ID != "" || res.Decision.Entry != w.s.Next-1 {
					t.Fatal(res)
				}
			}
			other := find(5)
			other.Detection = "probing"
			if w.must(other).ID == "" {
				t.Fatal("another detection is another finding")
			}
			w.later(24 * time.Hour)
			if w.must(find(4)).ID != "" {
				t.Fatal("who reads the log again finds it again")
			}
			if w.must(find(5)).ID == "" || found(w) != 3 {
				t.Fatal("another day, and later entries")
			}
			alone := func(n ...remit.EntryIndex) *authority.RecordFinding {
				f := find(n...)
				f.Agent = ""
				return f
			}
			if w.must(alone(6)).ID == "" || w.must(alone(6)).ID != "" || w.must(alone(7)).ID == "" {
				t.Fatal("what is of no agent is told by where it shows")
			}
			if w.must(alone(2, 8)).ID == "" || w.must(alone(2, 8)).ID != "" || w.must(alone(7, 8)).ID != "" || w.must(alone(2, 9)).ID == "" {
				t.Fatal("a finding is told by the entry that completed it, wherever it began")
			}
		}},
		{"it suspends where the declarations let it, once, and again after somebody resumed", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Detections = []remit.DetectionDeclared{{Name: "denial-burst", Suspend: true}, {Name: "instance-twice", Suspend: true}, {Name: "probing"}}
			})
			other := func(name string) {
				t.Helper()
				f := find(4)
				f.Detection = name
				before, at := w.s.Agents["coder"].Status, len(w.log)
				w.must(f)
				if w.s.Agents["coder"].Status != before || len(w.log) != at+1 || w.log[at].event.(*remit.Found).Suspended {
					t.Fatalf("%s changes an agent that is %s", name, before)
				}
			}
			other("probing")
			c, others := w.task("coder", "p-noa"), w.task("merger", "p-noa")
			w.must(find(4))
			if w.s.Agents["coder"].Status != remit.AgentSuspended || w.s.LiveTasks[c.Task] || w.s.Instances[c.Instance] != nil || !w.s.LiveTasks[others.Task] {
				t.Fatal("the agent is suspended and its tasks end; those of others do not")
			}
			if f := w.log[w.s.Findings["denial-burst/coder"].Entry].event.(*remit.Found); !f.Suspended {
				t.Fatal("it does not say so")
			}
			other("instance-twice")
			w.must(&authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentActive})
			if w.must(find(5)).ID != "" || w.s.Agents["coder"].Status != remit.AgentActive {
				t.Fatal("what was before the last finding is no new one")
			}
			if w.must(find(4, w.s.Next-1)).ID == "" || w.s.Agents["coder"].Status != remit.AgentSuspended {
				t.Fatal("what came after it is")
			}
		}},
		{"to take suspending from a detection widens", func(t *testing.T, w *world) {
			with := func(list ...remit.DetectionDeclared) authority.Set {
				s := clone(w.set)
				s.Detections = list
				return s
			}
			widens := func(s authority.Set, want bool) {
				t.Helper()
				c, err := authority.Diff(w.s, &s)
				if err != nil || len(c) != 1 || c[0].Kind != "detection" || (c[0].Widens != "") != want {
					t.Fatal(c, err)
				}
			}
			on, off := remit.DetectionDeclared{Name: "probing", Suspend: true}, remit.DetectionDeclared{Name: "probing"}
			widens(with(on), false)
			widens(with(off), false)
			w.apply(func(s *authority.Set) { s.Detections = []remit.DetectionDeclared{off} })
			widens(with(on), false)
			widens(with(), false)
			w.apply(func(s *authority.Set) { s.Detections = []remit.DetectionDeclared{on} })
			widens(with(off), true)
			widens(with(), true)
			for _, bad := range []authority.Set{with(on, off), with(remit.DetectionDeclared{Name: "A b"})} {
				if _, err := authority.Diff(w.s, &bad); err == nil {
					t.Fatal("accepted")
				}
			}
			w.apply(func(s *authority.Set) { s.Detections = nil })
			if len(w.s.Detections) != 0 || len(w.s.Gone["detection/probing"]) == 0 {
				t.Fatal(w.s.Detections)
			}
		}},
	})
}
