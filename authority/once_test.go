package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestAnswersAreKeptOnceADay(t *testing.T) {
	keep := func(key byte) *authority.KeepAnswer {
		return &authority.KeepAnswer{Key: remit.Digest{key}, Body: remit.Digest{9}, ID: "T-1"}
	}
	each(t, remit.Team, []row{
		{"a key has one answer for a day, and then another one", func(t *testing.T, w *world) {
			w.must(keep(1))
			kept, ok := w.s.Answered(remit.Digest{1}, w.now.UnixNano())
			if !ok || kept.Body != (remit.Digest{9}) || kept.Entry != w.s.Next-1 || kept.Until != w.now.Add(authority.AnswerLife).UnixNano() {
				t.Fatalf("%+v", kept)
			}
			began := w.now
			w.now = began.Add(authority.AnswerLife - 1)
			w.refuse(keep(1), remit.KeyInUse, "its answer already")
			if err := authority.Apply(w.s, w.now.UnixNano(), &remit.AnswerKept{Key: remit.Digest{1}, Body: remit.Digest{9}}); err == nil {
				t.Fatal("a log with two answers is folded")
			}
			w.now = began.Add(authority.AnswerLife)
			w.must(keep(1))
		}},
		{"what is over is forgotten, in the order in which it ends", func(t *testing.T, w *world) {
			for k := range byte(3) {
				w.must(keep(k + 1))
				w.now = w.now.Add(time.Hour)
			}
			if len(w.s.Kept) != 3 || len(w.s.KeptAge) != 3 {
				t.Fatal(w.s.Kept)
			}
			w.now = w.now.Add(authority.AnswerLife - 2*time.Hour)
			w.must(keep(4))
			if _, ok := w.s.Kept[remit.Digest{3}]; len(w.s.Kept) != 2 || len(w.s.KeptAge) != 2 || !ok {
				t.Fatal(w.s.Kept)
			}
		}},
		{"an answer has a key and says what it answers", func(t *testing.T, w *world) {
			w.refuse(&authority.KeepAnswer{Body: remit.Digest{9}}, remit.BadRequest, "under a key")
			w.refuse(&authority.KeepAnswer{Key: remit.Digest{1}}, remit.BadRequest, "under a key")
			if err := authority.Apply(w.s, w.now.UnixNano(), &remit.AnswerKept{Body: remit.Digest{9}}); err == nil {
				t.Fatal("a log with an answer under no key is folded")
			}
		}},
	})
}
