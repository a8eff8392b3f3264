package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestTheValueOfASecret(t *testing.T) {
	w := newWorld(t, remit.Team, func(s *authority.Set) {
		s.Secrets = []remit.SecretDeclared{{Name: "pay/api", Zone: remit.ZoneSource, Approvers: []remit.Need{{Group: "reviewers", N: 1}}},
			{Name: "other", Zone: remit.ZoneBuild}}
	})
	put := func(by remit.ID, name string, version int) *authority.StoreSecret {
		return &authority.StoreSecret{By: by, Name: name, Version: version}
	}
	version := func(name string, want int) {
		t.Helper()
		if got := w.s.SecretVersion(name); got != want {
			t.Fatalf("%s has version %d, not %d", name, got, want)
		}
	}
	keeper := w.s.Groups["reviewers"].Members[0]
	if w.s.IsAdmin(keeper) {
		t.Fatal("the test wants an approver who is no administrator")
	}
	w.refuse(put("p-ada", "nothing", 1), remit.UnknownResource, "no secret")
	w.refuse(put(keeper, "other", 1), remit.Forbidden, "approvers or an administrator")
	w.refuse(put("p-nobody", "pay/api", 1), remit.Forbidden, "approvers or an administrator")
	if w.s.KeepsSecret(keeper, "nothing") || w.s.KeepsSecret(keeper, "other") || !w.s.KeepsSecret(keeper, "pay/api") || !w.s.KeepsSecret("p-ada", "other") {
		t.Fatal("who keeps a secret is its approvers and the administrators")
	}
	version("pay/api", 0)
	version("nothing", 0)
	w.refuse(&authority.StoreSecret{By: "p-ada", Name: "pay/api", Removed: true}, remit.NotFound, "has no value")
	w.refuse(put(keeper, "pay/api", 2), remit.Conflict, "at version 0")
	w.must(put(keeper, "pay/api", 1))
	version("pay/api", 1)
	w.refuse(put(keeper, "pay/api", 1), remit.Conflict, "at version 1")
	w.must(put("p-ada", "pay/api", 2))
	version("pay/api", 2)
	if x := w.s.Secrets["pay/api"]; x.StoredBy != "p-ada" || len(x.Changes) != 3 {
		t.Fatalf("%+v", x)
	}
	w.must(&authority.StoreSecret{By: keeper, Name: "pay/api", Removed: true})
	version("pay/api", 0)
	w.refuse(&authority.StoreSecret{By: keeper, Name: "pay/api", Removed: true}, remit.NotFound, "has no value")
	w.must(put(keeper, "pay/api", 3)) // a version is never used again
	version("pay/api", 3)
	w.apply(func(s *authority.Set) { s.Secrets[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}} })
	version("pay/api", 3)
	w.replay()
}

// Whoever put a secret's value cannot be among those who let it be used for a task that was there before.
func TestWhoPutTheValueDoesNotApproveItsUse(t *testing.T) {
	w := newWorld(t, remit.Team, func(s *authority.Set) {
		s.Secrets = []remit.SecretDeclared{{Name: "pay/api", Zone: remit.ZoneSource, Approvers: []remit.Need{{Group: "reviewers", N: 1}}}}
		for i := range s.Agents {
			if s.Agents[i].Name == "coder" {
				s.Agents[i].Entitlements = append(s.Agents[i].Entitlements, remit.Scope{Actions: []remit.Action{"secret.read"}, Resources: []remit.Pattern{"secret:pay/api"}})
			}
		}
	})
	c := w.task("coder", "p-mia")
	keeper := w.s.Groups["reviewers"].Members[0]
	w.must(&authority.StoreSecret{By: keeper, Name: "pay/api", Version: 1})
	w.hold(step(c, "secret.read", "secret:pay/api"), remit.ImpactHeld, remit.Need{Group: "reviewers", N: 1})
	for _, a := range w.s.Accesses {
		found := false
		for _, p := range a.Closure {
			found = found || p == keeper
		}
		if !found {
			t.Fatalf("%s is not in the closure %v", keeper, a.Closure)
		}
	}
}
