package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"slices"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// phone is a passkey that hangs on its name alone.
func phone(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("phone " + name))
	d := new(big.Int).Mod(new(big.Int).SetBytes(seed[:]), elliptic.P256().Params().N)
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	return passkey{k}
}

// strange declares somebody without a key, who decides, and takes keys of somebody away.
func (h *history) strange() {
	s := clone(h.set)
	if !slices.ContainsFunc(s.People, func(p remit.PersonDeclared) bool { return p.ID == "p-zoe" }) {
		s.People = append(s.People, person("zoe"))
	}
	switch rapid.IntRange(0, 4).Draw(h.r, "strange") {
	case 0:
		s.Groups[2].Members = []remit.ID{h.person(), "p-zoe"}
	case 1:
		s.Groups[3].Members = []remit.ID{h.person(), "p-zoe", "p-rio"}
	case 2:
		s.Groups[0].Members = []remit.ID{"p-ada"}
	case 3:
		s.Groups[pick(h.r, "group", []int{1, 2, 3})].From = []remit.GroupSource{{Issuer: provider, Group: pick(h.r, "source", []string{"a", "b"})}}
	case 4:
		i := rapid.IntRange(0, 3).Draw(h.r, "whose")
		s.People[i].Identities = []remit.Digest{remit.Hash([]byte(pick(h.r, "identity", []string{"one", "two"})))}
		if rapid.Bool().Draw(h.r, "keys") {
			s.People[i].Keys = nil
		}
	}
	h.agree(s)
}

// agree puts declarations in force, with the vote of the other administrator where there is one.
func (h *history) agree(s authority.Set) {
	h.putInForce("p-ada", s, "")
	if last := h.log[len(h.log)-1].event; last.Kind() == "access.opened" {
		id := last.(*remit.AccessOpened).ID
		h.try(h.ballot(id, "bob", touch("bob"), true))
		h.putInForce("p-ada", s, id)
	}
}

// invites makes an invitation, mostly for somebody without a key, and has it used, more or less as it should be.
func (h *history) invites() {
	name := pick(h.r, "whom", []string{"zoe", "zoe", "zoe", "zoe", "tom", "bob"})
	id := remit.ID("p-" + name)
	if h.s.People["p-zoe"] == nil {
		h.strange()
	}
	if p := h.s.People[id]; p != nil && rapid.Bool().Draw(h.r, "lost") {
		for _, x := range p.Enrolled {
			h.try(&authority.RemoveKey{By: h.admin(), Person: id, Key: x.Key})
		}
	}
	h.try(&authority.Invite{By: h.admin(), Person: id, Token: remit.Hash([]byte(pick(h.r, "token", []string{"one", "one", "two"})))})
	switch rapid.IntRange(0, 9).Draw(h.r, "first") {
	case 0:
		h.try(&authority.WithdrawInvitation{By: h.admin(), Person: id})
	case 1:
		h.later(authority.InviteLife)
	case 2:
		h.try(&authority.Kill{By: h.admin(), What: "person", ID: pick(h.r, "who leaves", []remit.ID{id, "p-bob"})})
	}
	k := pick(h.r, "key", []ssh.Signer{phone(name), phone(name + " 2"), phone(name + " 3"), touch("mia")})
	access := h.try(h.enrolment(name, k, pick(h.r, "shown", []string{"one", "one", "two"}), nil)).Decision.Access
	if access != "" { // another administrator agrees, mostly
		voter := pick(h.r, "voter", []string{"ada", "bob", "bob", "ada", "mia"})
		h.try(h.ballot(access, voter, touch(voter), rapid.IntRange(0, 4).Draw(h.r, "approve") > 0))
	}
	if rapid.IntRange(0, 2).Draw(h.r, "wait") == 0 {
		h.later(authority.KeyDelay)
		h.try(&authority.Tick{})
	}
}

// enrols adds a key to somebody who has one, more or less as it should be, or takes one away.
func (h *history) enrols() {
	name, other := pick(h.r, "whose", names), pick(h.r, "by", names)
	if rapid.IntRange(0, 3).Draw(h.r, "own") > 0 {
		other = name
	}
	k := pick(h.r, "key", []ssh.Signer{phone(name), phone(name), phone(other), touch(other)})
	h.try(h.enrolment(name, k, "", pick(h.r, "older", []ssh.Signer{h.key(other), phone(other)})))
	if rapid.IntRange(0, 2).Draw(h.r, "away") == 0 {
		h.try(&authority.RemoveKey{By: pick(h.r, "taker", []remit.ID{remit.ID("p-" + name), h.person(), "p-ada"}), Person: remit.ID("p-" + name), Key: hashOf(k)})
	}
	if open := ids(h.s.OpenHolds); len(open) > 0 {
		h.try(h.ballot(pick(h.r, "request", open), name, phone(name), true))
	}
}

// signsIn shows groups of a provider, and votes.
func (h *history) signsIn() {
	name := pick(h.r, "who", append([]string{"zoe"}, names...))
	id := remit.ID("p-" + name)
	shown := h.s.Sources(provider)
	if len(shown) > 0 && rapid.IntRange(0, 3).Draw(h.r, "fewer") == 0 {
		shown = shown[1:]
	}
	h.try(&authority.ShowGroups{Person: id, Issuer: provider, Groups: shown})
	h.pass()
	if open := ids(h.s.OpenHolds); len(open) > 0 {
		h.try(h.ballot(pick(h.r, "request", open), name, pick(h.r, "with", []ssh.Signer{h.key(name), phone(name)}), true))
	}
}
