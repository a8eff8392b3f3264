package sim

import (
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/sshsig"
)

// What people do with their keys: enrol them, by invitation or with an older one, lose them, and sign in at a provider.

const provider = "https://id.acme.example"

// newcomer is declared without a key.
const newcomer = "zoe"

// phone is a further key of a person, in hardware.
func phone(name string) ssh.Signer { return world.Touch(name + "'s phone") }

func (w *World) signed(k ssh.Signer, text []byte) []byte {
	sig, err := sshsig.Sign(k, authority.ConfirmNamespace, text)
	if err != nil {
		panic(err)
	}
	return sig
}

// enrols has somebody enrol a key, mostly as it should be.
func (w *World) enrols() {
	name := pick(w, people...)
	if w.one(2) {
		name = newcomer
	}
	k, older := phone(name), keys[name][w.r.IntN(2)]
	c := &authority.EnrolKey{Person: remit.ID("p-" + name), Public: k.PublicKey().Marshal()}
	keyless := false
	var origin string
	w.view(func(s *authority.State) {
		origin = s.Origin
		keyless = s.People[c.Person] != nil && len(s.People[c.Person].Keys) == 0
	})
	if keyless || w.one(6) {
		c.Token = digest(pick(w, "one", "one", "two"))
		_, _ = w.do(&authority.Invite{By: pick(w, remit.ID("p-ada"), "p-bob", "p-ada", "p-mia"), Person: c.Person, Token: digest("one")})
		if w.one(8) {
			_, _ = w.do(&authority.WithdrawInvitation{By: pick(w, remit.ID("p-ada"), "p-mia"), Person: c.Person})
		}
		w.meanwhile()
	}
	c.Proof = w.signed(k, authority.EnrolStatement(origin, c.Person, remit.Hash(c.Public), c.Token))
	if c.Token.IsZero() {
		c.Confirmation = w.signed(older, authority.ConfirmStatement(origin, c.Person, remit.Hash(c.Public)))
	}
	res, err := w.do(c)
	w.say("  %s enrols a key: %s %s", name, res.Decision.Verdict, reason(err))
	if id := res.Decision.Access; err == nil && id != "" && !w.one(4) {
		w.ballot(id, pick(w, "bob", "ada", "bob", "rio"), true, !w.one(5))
	}
}

// loses has somebody take a key away.
func (w *World) loses() {
	id := w.somebody()
	if w.one(2) {
		id = "p-" + newcomer
	}
	_, _ = w.do(&authority.RemoveKey{By: pick(w, id, "p-ada", w.somebody()), Person: id, Key: remit.Hash(phone(string(id[2:])).PublicKey().Marshal())})
}

// signsIn has a provider say in which groups somebody is.
func (w *World) signsIn() {
	c := &authority.ShowGroups{Person: w.somebody(), Issuer: provider}
	w.view(func(s *authority.State) { c.Groups = s.Sources(provider) })
	if w.one(3) {
		c.Groups = nil
	}
	_, _ = w.do(c)
}
