package engine_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
)

func TestExplainDerivesWhatTheLogHas(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	held := w.Push(inst, remit.Shown{}, ".envrc")
	allowed := w.Push(inst, remit.Shown{}, "refund.go")
	w.Clock.Advance(time.Second)
	w.Task("cleo")
	x, err := w.Engine.Explain(t.Context(), held.Entry, allowed.Entry, held.Entry+1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[remit.EntryIndex]bool{held.Entry: true, allowed.Entry: true, held.Entry + 1: false, 0: true} {
		if x[i].Derived != want {
			t.Errorf("entry %d (%s): derived is %t", i, x[i].Event.Kind(), x[i].Derived)
		}
	}
	if got := x[held.Entry].Result.Decision; got.Sentence != held.Sentence || got.Access != held.Access || got.Verdict != remit.Hold {
		t.Errorf("%+v", got)
	}
	if o := x[held.Entry].Opened; o == nil || o.ID != held.Access || x[held.Entry].Card.Digest() != o.Card || x[held.Entry].Card.Agent != "coder" {
		t.Errorf("the card is not the one that was shown: %+v", x[held.Entry].Card)
	}
	if _, ok := x[allowed.Entry].Command.(*authority.Authorize); !ok || x[allowed.Entry].Opened != nil {
		t.Errorf("%+v", x[allowed.Entry])
	}
	var next remit.EntryIndex
	w.Engine.View(func(s *authority.State) { next = s.Next })
	if _, err := w.Engine.Explain(t.Context(), next); err == nil {
		t.Error("an entry that is not there was explained")
	}
}
