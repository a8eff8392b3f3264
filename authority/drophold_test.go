package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestDropHold: what waits is taken back by a running instance of its own task, and by nobody else.
func TestDropHold(t *testing.T) {
	for _, x := range []struct {
		name string
		run  func(t *testing.T, w *world, c caller, id remit.ID)
	}{
		{"by who asked", func(t *testing.T, w *world, c caller, id remit.ID) {
			w.must(&authority.DropHold{Instance: c.Instance, Access: id})
			w.status(id, remit.AccessVoid, remit.Dropped)
			w.refuse(&authority.DropHold{Instance: c.Instance, Access: id}, remit.Conflict, "taken back")
		}},
		{"by another task's instance", func(t *testing.T, w *world, _ caller, id remit.ID) {
			other := w.task("coder", "p-mia")
			w.refuse(&authority.DropHold{Instance: other.Instance, Access: id}, remit.NotFound, "of yours")
			w.status(id, remit.AccessOpen, "")
		}},
		{"by an instance that has ended", func(t *testing.T, w *world, c caller, id remit.ID) {
			w.must(&authority.EndInstance{Instance: c.Instance})
			w.refuse(&authority.DropHold{Instance: c.Instance, Access: id}, remit.NotFound, "of yours")
		}},
		{"when the time of its task is over", func(t *testing.T, w *world, c caller, id remit.ID) {
			w.later(25 * time.Hour) // and no tick has come yet
			w.refuse(&authority.DropHold{Instance: c.Instance, Access: id}, remit.NotFound, "of yours")
		}},
		{"by nobody", func(t *testing.T, w *world, _ caller, id remit.ID) {
			w.refuse(&authority.DropHold{Access: id}, remit.NotFound, "of yours")
			w.refuse(&authority.DropHold{Instance: "I-999", Access: "A-999"}, remit.NotFound, "of yours")
		}},
		{"what is approved", func(t *testing.T, w *world, c caller, id remit.ID) {
			w.vote(id, "noa", soft("noa"), true)
			w.status(id, remit.AccessMet, "")
			w.refuse(&authority.DropHold{Instance: c.Instance, Access: id}, remit.Conflict, "taken back")
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			x.run(t, w, c, id)
		})
	}
}

// TestElsewhereIsAnotherEffect: the same step, carried out by whoever asks, is another request, and its approval is not good
// for the one here.
func TestElsewhereIsAnotherEffect(t *testing.T) {
	w := newWorld(t, remit.Team)
	c := w.task("coder", "p-mia")
	here, r := held(w, c)
	r.Elsewhere = true
	there := w.ask(r)
	if there.Verdict != remit.Hold || there.Access == here || there.Access == "" {
		t.Fatal(there)
	}
}
