package authority_test

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestNotUnderBreakGlass: what break-glass does not let pass although its scope names it.
func TestNotUnderBreakGlass(t *testing.T) {
	open := func(w *world, task remit.ID, more ...remit.Scope) {
		w.t.Helper()
		w.apply(fire)
		w.apply(func(s *authority.Set) {
			s.BreakGlass = slices.Clone(s.BreakGlass)
			s.BreakGlass[0].Scope = append(slices.Clone(s.BreakGlass[0].Scope), more...)
		})
		w.must(w.opening("sam", touch("sam"), task, nil))
	}
	for _, r := range []row{
		{"a tool of another definition than was admitted", func(t *testing.T, w *world) {
			c := w.task("handy", "p-mia")
			open(w, c.Task, remit.Scope{Actions: []remit.Action{"tool.write"}, Resources: []remit.Pattern{"tool:github/*"}},
				remit.Scope{Actions: []remit.Action{"issue.comment"}, Resources: []remit.Pattern{remit.Pattern(payments)}})
			r := use(c, "tool.write", "github/comment", `{"repo":"payments"}`, on("issue.comment", payments))
			r.Tool.Pin = pin("other")
			w.stopped(r)
		}},
		{"what is only decided here", func(t *testing.T, w *world) {
			c := w.task("merger", "p-mia")
			open(w, c.Task)
			r := merge(c, "refs/heads/main", "1", "src/a")
			w.allow(r)
			r.Elsewhere = true
			w.stopped(r)
		}},
		{"a child task", func(t *testing.T, w *world) {
			c := w.task("planner", "p-mia")
			open(w, c.Task, remit.Scope{Actions: []remit.Action{"task.request"}, Resources: []remit.Pattern{"task:medic"}})
			child := wants("medic", "operate.change", "environment:payments/*")
			child.Inputs = []remit.Input{commit("a")}
			w.stopped(request(c, child))
		}},
		{"what an executor does", func(t *testing.T, w *world) {
			a := w.published("v1", "one")
			ship := w.launch(w.made(request(w.task("planner", "p-mia"), wants("shipper", "artifact.read", remit.Pattern(image)))).ID, "shipper", "p-tom")
			k := w.made(request(ship, deploying(production, a)))
			open(w, k.ID)
			w.stopped(deploy(caller{Task: k.ID, Agent: k.Agent, Executor: "executor/production"}, k.Deploy))
		}},
		{"and who opened it for a child has a part in what asked for it", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia")
			k := w.made(request(root, wants("shipper", "artifact.read", remit.Pattern(image))))
			open(w, k.ID)
			if !slices.Contains(w.s.Tasks[root.Task].Closure, "p-sam") {
				t.Fatal(w.s.Tasks[root.Task].Closure)
			}
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team, family, withTools)
			r.run(t, w)
			w.replay()
		})
	}
}
