package remit_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestEveryActionThatPeopleDecideOnSaysWhatItCosts(t *testing.T) {
	for _, a := range remit.Catalogue() {
		if a.Impact == remit.Read || a.Stage == remit.StageProbe {
			continue
		}
		r := remit.Risks(remit.AccessView{Steps: []remit.Step{{Action: a.Action, Resource: "repo:forge/payments"}}})
		if len(r) != 1 || strings.Contains(r[0].Wrong, "cannot say") || r[0].Back == "" {
			t.Errorf("%s: %+v", a.Action, r)
		}
	}
	if r := remit.Risks(remit.AccessView{Steps: []remit.Step{{Action: "planet.move"}}}); !strings.Contains(r[0].Wrong, "cannot say") {
		t.Errorf("what nobody knows is harmless: %+v", r)
	}
	back := remit.Risks(remit.AccessView{Steps: []remit.Step{{Action: "source.push"}}, Refs: []remit.RefView{{Ref: "refs/heads/a", New: "11"}, {Ref: "refs/heads/\u202eb", Old: "2222222222222222", New: "33"}}})[0].Back
	if back != "delete refs/heads/a; put 222222222222 back in place as refs/heads/\\u{202E}b" {
		t.Error(back)
	}
}
