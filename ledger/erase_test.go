package ledger

import (
	"testing"

	"github.com/remit-dev/remit"
)

// erasure stands for an event that says that payloads are gone.
type erasure struct{ gone []remit.Digest }

func (*erasure) Kind() string             { return "test.erasure" }
func (e *erasure) Erases() []remit.Digest { return e.gone }

func TestAnEventAccountsForTheErasuresThatItNames(t *testing.T) {
	b := &Bundle{erased: map[remit.Digest]remit.EntryIndex{{1}: 3, {2}: 4}}
	if err := b.noteEvent(9, &erasure{[]remit.Digest{{1}, {7}}}); err != nil {
		t.Fatal(err)
	}
	if _, open := b.erased[remit.Digest{1}]; open || len(b.erased) != 1 {
		t.Errorf("%v, want the second payload only", b.erased)
	}
}
