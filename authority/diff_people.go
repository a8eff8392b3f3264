package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// identities: one identity at a provider is one person, as one key is. They are compared by their commitments: whoever
// makes the set commits to the same identity once.
func (d *differ) identities(path string, i int, p remit.PersonDeclared, taken map[remit.Digest]int) error {
	if len(p.Identities) > remit.MaxIdentities {
		return wrong(path+".identities", "a person has at most %d identities", remit.MaxIdentities)
	}
	for j, x := range p.Identities {
		at := fmt.Sprintf("%s.identities[%d]", path, j)
		if x.IsZero() {
			return wrong(at, "an identity has a commitment")
		}
		if o, had := taken[x]; had {
			return wrong(at, "this identity is also people[%d]'s; one person is one record", o)
		}
		taken[x] = i
		for _, id := range sorted(d.s.People) {
			if o := d.s.People[id]; id != p.ID && (!o.Removed || o.Killed) && slices.Contains(o.Identities, x) {
				return wrong(at, "this identity belongs to another person (%s); one person is one record", id)
			}
		}
	}
	return nil
}

func sameIdentities(a, b []remit.Digest) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(x remit.Digest) bool { return !slices.Contains(a, x) })
}

// governs tells whether m is alive and has a key that counts, or comes to: of an administrator who has none, nobody else
// could give them one.
func (d *differ) governs(m remit.ID) bool {
	p := d.s.People[m]
	if p != nil && p.Killed {
		return false
	}
	return slices.ContainsFunc(d.set.People, func(x remit.PersonDeclared) bool { return x.ID == m && len(x.Keys) > 0 }) ||
		p != nil && !p.Removed && slices.ContainsFunc(p.Keys, func(k remit.Key) bool { return (k.Confirmed || k.Usable != 0) && !hasKey(p.declared(), k) })
}

// sources checks whom a sign-in makes a member. The network never creates an administrator.
func (d *differ) sources(path string, g remit.GroupDeclared) error {
	if g.Name == remit.Administrators && len(g.From) > 0 {
		return wrong(path+".from", "administrators are declared one by one; a provider makes nobody one")
	}
	if len(g.From) > remit.MaxSources {
		return wrong(path+".from", "a group takes members from at most %d groups of providers", remit.MaxSources)
	}
	for j, f := range g.From {
		at := fmt.Sprintf("%s.from[%d]", path, j)
		if why := f.Wrong(); why != "" {
			return wrong(at, "%s", why)
		}
		if slices.Contains(g.From[:j], f) {
			return wrong(at, "this source stands twice")
		}
	}
	return nil
}
