package authority_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// anItem is an item as an honest server shows it.
func anItem() (remit.ItemView, remit.FixedItem) {
	at := time.Unix(1_800_000_000, 5).UTC()
	scope := remit.Scope{Actions: []remit.Action{"source.push", "source.read"}, Resources: []remit.Pattern{"repo:forge/*"}}
	f := remit.FixedItem{Origin: "acme.example/log", Item: remit.ReviewOpened{ID: "R-7", Run: "C-3", Cause: remit.CauseCampaign, Agent: "coder", Scope: scope, Deadline: at.UnixNano(), Advice: remit.Shrink,
		Evidence: remit.Evidence{Granted: 4, By: "p-1", Alone: true, Tasks: 2, Uses: 9, Last: 6, LastAt: at.UnixNano(), Kept: 1, Actions: []remit.Action{"source.push"}, Targets: 1}}}
	f.Item.Shown = authority.ItemDigest(f.Origin, &f.Item)
	return remit.ItemView{ID: "R-7", Run: "C-3", Cause: remit.CauseCampaign, Agent: "coder", Entitlement: &scope, Granted: 4, Alone: true, Tasks: 2, Uses: 9, LastEntry: 6, LastUse: &at, KeptBefore: 1,
		Used: []remit.Action{"source.push"}, Targets: 1, Advice: remit.Shrink, Deadline: at, Shown: f.Item.Shown, Fixed: f.Text()}, f
}

// What an item shows is what its digest binds, member by member; a server that shows something else is found out before
// anything is signed.
func TestAnItemThatShowsOtherThanItBindsIsNotBound(t *testing.T) {
	v, f := anItem()
	if err := v.Bound(f.Origin); err != nil {
		t.Fatal(err)
	}
	later := v.Deadline.Add(time.Second)
	other := remit.Scope{Actions: []remit.Action{"source.read"}, Resources: v.Entitlement.Resources}
	for what, change := range map[string]func(*remit.ItemView){
		"its id":           func(v *remit.ItemView) { v.ID = "R-8" },
		"its run":          func(v *remit.ItemView) { v.Run = "" },
		"its cause":        func(v *remit.ItemView) { v.Cause = remit.CauseWide },
		"the agent":        func(v *remit.ItemView) { v.Agent = "other" },
		"the entitlement":  func(v *remit.ItemView) { v.Entitlement = &other },
		"a function":       func(v *remit.ItemView) { v.MayRequest = "build" },
		"the deadline":     func(v *remit.ItemView) { v.Deadline = later },
		"the advice":       func(v *remit.ItemView) { v.Advice = remit.Keep },
		"the uses":         func(v *remit.ItemView) { v.Uses = 0 },
		"the tasks":        func(v *remit.ItemView) { v.Tasks = 0 },
		"the last entry":   func(v *remit.ItemView) { v.LastEntry = 5 },
		"the last use":     func(v *remit.ItemView) { v.LastUse = nil },
		"what was used":    func(v *remit.ItemView) { v.Used = nil },
		"how many targets": func(v *remit.ItemView) { v.Targets = 2 },
		"that it is alone": func(v *remit.ItemView) { v.Alone = false },
		"an answer before": func(v *remit.ItemView) { v.KeptBefore = 0 },
		"the grant":        func(v *remit.ItemView) { v.Granted = 3 },
		"its digest":       func(v *remit.ItemView) { v.Shown[0] ^= 1 },
		"its fixed part":   func(v *remit.ItemView) { v.Fixed = strings.Replace(v.Fixed, `"uses":9`, `"uses":8`, 1) },
		"a member more": func(v *remit.ItemView) {
			v.Fixed = strings.Replace(v.Fixed, `{"Origin"`, `{"More":1,"Origin"`, 1)
			v.Shown = remit.Hash([]byte("remit review item v1\n"), []byte(v.Fixed))
		},
		"another encoding": func(v *remit.ItemView) {
			v.Fixed = " " + v.Fixed
			v.Shown = remit.Hash([]byte("remit review item v1\n"), []byte(v.Fixed))
		},
	} {
		v, f := anItem()
		change(&v)
		if err := v.Bound(f.Origin); err == nil {
			t.Errorf("%s: it is bound", what)
		}
	}
	if err := v.Bound("other.example/log"); err == nil {
		t.Error("it is bound to another log")
	}
}
