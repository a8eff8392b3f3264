package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func seers(w *world, id remit.ID) string {
	var out []string
	for _, x := range w.s.Accesses[id].Seen {
		out = append(out, fmt.Sprint(x.Person, " ", x.At == w.now.UnixNano()))
	}
	return strings.Join(out, ", ")
}

func TestSeen(t *testing.T) {
	see := func(w *world, id, p remit.ID) { w.must(&authority.SeeAccess{Access: id, Person: p}) }
	each(t, remit.Team, []row{
		{"whoever may vote is written down, once, with the time", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			see(w, id, "p-noa")
			if got := seers(w, id); got != "p-noa true" {
				t.Fatal(got)
			}
			next := w.s.Next
			see(w, id, "p-noa")
			if w.s.Next != next {
				t.Fatal("an entry for looking again")
			}
			see(w.later(1), id, "p-rio")
			if got := seers(w, id); got != "p-noa false, p-rio true" {
				t.Fatal(got)
			}
		}},
		{"looking is for all, and leaves no entry of who may not vote", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			next := w.s.Next
			for _, p := range []remit.ID{"p-mia", "p-ada", "p-nobody", ""} {
				see(w, id, p)
			}
			w.refuse(&authority.SeeAccess{Access: "A-1", Person: "p-noa"}, remit.NotFound, "no access request")
			if w.s.Next != next {
				t.Fatal(seers(w, id))
			}
		}},
		{"what does not wait is not seen", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			w.vote(id, "noa", soft("noa"), false)
			next := w.s.Next
			if see(w, id, "p-rio"); w.s.Next != next {
				t.Fatal(seers(w, id))
			}
			id, _ = held(w, w.task("coder", "p-mia"))
			next = w.s.Next
			w.now = time.Unix(0, w.s.Accesses[id].NotAfter)
			see(w, id, "p-noa")
			if w.s.Next != next {
				t.Fatal(w.s.Accesses[id].Seen)
			}
		}},
		{"nor what has expired, to the second", func(t *testing.T, w *world) { // a control step ends with no task
			set := clone(w.set)
			set.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			id := w.must(&authority.ApplySet{By: "p-ada", Set: set}).Decision.Access
			w.now = time.Unix(0, w.s.Accesses[id].NotAfter)
			next := w.s.Next
			see(w, id, "p-bob")
			if w.s.Next != next {
				t.Fatal(w.s.Accesses[id].Seen)
			}
		}},
		{"what has ended with who asked is not seen, and nothing that is seen changes its end", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			end := w.s.Accesses[id].NotAfter
			see(w, id, "p-noa")
			if w.s.Accesses[id].NotAfter != end || w.s.Accesses[id].Status != remit.AccessOpen {
				t.Fatal(w.s.Accesses[id])
			}
			w.now = time.Unix(0, w.s.Tasks[c.Task].Deadline)
			next := w.s.Next
			see(w, id, "p-rio")
			if w.s.Next != next {
				t.Fatal(w.s.Accesses[id].Seen)
			}
		}},
		{"channels come into force; others in their place widen", func(t *testing.T, w *world) {
			changes := func(d remit.Digest) []remit.Change {
				s := clone(w.set)
				s.Notify = d
				out, err := authority.Diff(w.s, &s)
				if err != nil {
					t.Fatal(err)
				}
				return slices.DeleteFunc(out, func(c remit.Change) bool { return c.Kind != "notify" })
			}
			one, two := remit.Digest{1}, remit.Digest{2}
			if got := changes(one); len(got) != 1 || got[0].Widens != "" {
				t.Fatal(got)
			}
			w.apply(func(s *authority.Set) { s.Notify = one })
			if w.s.Notify != one || w.s.NotifyAt == 0 || len(changes(one)) != 0 {
				t.Fatal(w.s.Notify, changes(one))
			}
			for _, d := range []remit.Digest{two, {}} {
				if got := changes(d); len(got) != 1 || got[0].Widens == "" {
					t.Fatal(got)
				}
			}
			w.refuse(gone([]remit.EntryIndex{w.s.Next - 1}, one), remit.Conflict, "who is told of what")
			w.apply(func(s *authority.Set) { s.Notify = two })
			if w.s.Notify != two {
				t.Fatal(w.s.Notify)
			}
		}},
	})
}
