package authority

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// Limits of what people enrol themselves.
const (
	InviteLife    = 24 * time.Hour
	MaxEnrolled   = 16   // keys of one person, besides the declared ones
	MaxCredential = 1023 // bytes of a passkey's id (WebAuthn L3 §5.8.3)
)

// Commands of keys that are state of the authority and not declared: applying declarations does not take them away.
type (
	// Invite lets whoever shows the secret of Token enrol the first key of a person, once, within InviteLife. The person
	// has no key: a further one is confirmed with an older one.
	Invite struct {
		By     remit.ID
		Person remit.ID
		Token  remit.Digest
	}
	// WithdrawInvitation makes an invitation good for nothing.
	WithdrawInvitation struct {
		By     remit.ID
		Person remit.ID
	}
	// EnrolKey adds a key to a person. Proof is a signature over EnrolStatement by the key itself. Either Token is what was
	// shown of an invitation, or Confirmation is a signature over ConfirmStatement by an older key that counts.
	EnrolKey struct {
		Person       remit.ID
		Public       []byte
		Credential   []byte       `json:",omitempty"` // id of a passkey
		Label        remit.Digest // commitment
		Token        remit.Digest
		Proof        []byte // armored SSHSIG
		Confirmation []byte `json:",omitempty"` // armored SSHSIG
	}
	// RemoveKey takes an enrolled key away, at once (R11).
	RemoveKey struct {
		By     remit.ID
		Person remit.ID
		Key    remit.Digest // SHA-256 of the public key
	}
)

func (*Invite) name() string             { return "person.invite" }
func (*WithdrawInvitation) name() string { return "invitation.withdraw" }
func (*EnrolKey) name() string           { return "key.enrol" }
func (*RemoveKey) name() string          { return "key.remove" }

// Invitation is open until it is used, withdrawn or replaced, or its time is over.
type Invitation struct {
	Token    remit.Digest
	NotAfter int64
	By       remit.ID
	Entry    remit.EntryIndex
}

// Enrolled is a key that stands in its person's keys although it is not declared.
type Enrolled struct {
	Key        remit.Digest // SHA-256 of the public key
	Credential []byte       `json:",omitempty"`
	Label      remit.Digest `json:",omitzero"`
	By         remit.ID     `json:",omitempty"` // who invited
	Access     remit.ID     `json:",omitempty"` // the request on which another administrator decides
	At         int64
}

// EnrolStatement is what a key signs to be enrolled, in ConfirmNamespace: so nobody enrols a key that they do not have,
// nor one that cannot sign. token is zero where an older key confirms.
func EnrolStatement(origin string, person remit.ID, key, token remit.Digest) []byte {
	return []byte("remit key enrolment v1\norigin: " + origin + "\nperson: " + string(person) + "\nkey: " + key.String() + "\ninvitation: " + token.String() + "\n")
}

// InvitedBy is whose first key an invitation enrols; ok is false where it is good for nothing at t.
func (s *State) InvitedBy(token remit.Digest, t int64) (person remit.ID, ok bool) {
	for _, id := range sorted(s.People) {
		if s.invited(s.People[id], token, t) == nil {
			return id, true
		}
	}
	return "", false
}

// invited tells why an invitation does not let a person enrol a key.
func (s *State) invited(p *Person, token remit.Digest, now int64) error {
	inv := p.Invite
	switch {
	case inv == nil || inv.Token != token || token.IsZero():
		return remit.Errorf(remit.Forbidden, "there is no such invitation, or it was used, withdrawn or replaced; ask an administrator for another one")
	case now >= inv.NotAfter:
		return remit.Errorf(remit.Expired, "the invitation is older than %s; ask an administrator for another one", InviteLife)
	case !s.personLive(p.ID) || s.dead(inv.Entry, p.Ended):
		return remit.Errorf(remit.NotLive, "whom the invitation is for has left")
	case !s.IsAdmin(inv.By) || !s.since(inv.By, inv.Entry):
		return remit.Errorf(remit.NotLive, "who made the invitation is no administrator any more; ask another one")
	case len(p.Keys) > 0:
		return remit.Errorf(remit.Conflict, "%s has a key by now; confirm the new one with it", p.ID)
	}
	return nil
}

func decideInvite(s *State, now int64, c *Invite) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	p := s.People[c.Person]
	switch {
	case !s.IsAdmin(c.By):
		return fail(remit.Forbidden, "people are invited by administrators")
	case p == nil || !s.personLive(c.Person):
		return fail(remit.NotFound, "there is no such person; declare them first")
	case c.Token.IsZero():
		return fail(remit.BadRequest, "an invitation has the hash of a secret")
	case len(p.Keys) > 0:
		return fail(remit.Conflict, "%s has a key, and confirms further ones with it; if it is lost, take it away first", c.Person)
	}
	return []remit.Event{&remit.PersonInvited{Person: c.Person, Token: c.Token, NotAfter: now + int64(InviteLife), By: c.By}}, Result{}, nil
}

func decideWithdraw(s *State, c *WithdrawInvitation) ([]remit.Event, Result, error) {
	p := s.People[c.Person]
	switch {
	case !s.IsAdmin(c.By):
		return nil, Result{}, remit.Errorf(remit.Forbidden, "invitations are withdrawn by administrators")
	case p == nil || p.Invite == nil:
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no invitation of %s", c.Person)
	}
	return []remit.Event{&remit.InvitationWithdrawn{Person: c.Person, By: c.By}}, Result{}, nil
}

// decideEnrol adds a key. One that an older key confirms counts for what is asked from now on. One that came by
// invitation is as much as the word of the administrator who invited: where another administrator could object, it
// waits for their vote and then for KeyDelay, so that nobody adds a voter of their own.
func decideEnrol(s *State, now int64, c *EnrolKey) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	p := s.People[c.Person]
	if p == nil || !s.personLive(c.Person) {
		return fail(remit.UnknownPrincipal, "there is no such person")
	}
	pub, err := sshsig.ParseKey(c.Public)
	if err != nil {
		return fail(remit.BadRequest, "the new key: %w", err)
	}
	if len(c.Credential) > MaxCredential {
		return fail(remit.BadRequest, "the id of a passkey has at most %d bytes, not %d", MaxCredential, len(c.Credential))
	}
	if owner := s.keyOwner(c.Public, ""); owner != "" {
		return fail(remit.Conflict, "this key is already %s's; one person is one record", owner)
	}
	if len(p.Enrolled) >= MaxEnrolled {
		return fail(remit.Conflict, "%s has enrolled %d keys, and no more are kept; take one away first", c.Person, MaxEnrolled)
	}
	key := remit.Hash(c.Public)
	if slices.Contains(p.Lost, key) { // what an older key once signed for it would bring it back
		return fail(remit.Conflict, "this key was taken away from %s; make a new one", c.Person)
	}
	if _, err := sshsig.Verify(pub, ConfirmNamespace, EnrolStatement(s.Origin, c.Person, key, c.Token), c.Proof); err != nil {
		return fail(remit.BadVote, "the new key did not sign that it is to be enrolled: %w", err)
	}
	e := &remit.KeyEnrolled{Person: c.Person, Key: remit.Key{Public: c.Public, Since: s.Next}, Credential: c.Credential, Label: c.Label}
	if c.Token.IsZero() {
		old := s.confirming(p, c.Public, key, c.Confirmation, now)
		if old == nil {
			return fail(remit.BadVote, "the confirmation is not signed by an older key of yours that counts")
		}
		e.Key.Confirmed, e.With = true, remit.Hash(old)
		return []remit.Event{e}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
	}
	if err := s.invited(p, c.Token, now); err != nil {
		return nil, Result{}, err
	}
	e.By = p.Invite.By
	// The vote of another administrator, who neither invited nor is invited.
	open := &remit.AccessOpened{ID: newID(s, "A", 1), By: e.By, Effect: enrolEffect(s.Origin, c.Person, key), Needs: []remit.Need{{Group: remit.Administrators, N: 1}},
		Closure: add(nil, e.By, c.Person), NotAfter: now + int64(HoldLongest), Zone: remit.ZoneControl}
	el := electorate{s: s, closure: open.Closure, needs: open.Needs, zone: open.Zone, made: s.Next, madeAt: now, now: now}
	if _, ok := el.fillable(); ok {
		open.Card = s.cardDigest(open, remit.Caller{}, &verdict{rules: []string{"control"}})
		e.Access = open.ID
		return []remit.Event{e, open}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Hold, Code: remit.ControlWidens, Access: open.ID,
			Sentence: fmt.Sprintf("the key waits for another administrator, and counts %s after that", KeyDelay)}}, nil
	}
	// Nobody else could object. Who had a key before has 24 hours to.
	e.Key.Confirmed = !p.Keyed
	if p.Keyed {
		e.Key.Usable = now + int64(KeyDelay)
	}
	return []remit.Event{e}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
}

// enrolEffect is what the vote of another administrator binds: this key, for this person.
func enrolEffect(origin string, person remit.ID, key remit.Digest) remit.Digest {
	return digestJSON("enrol", struct {
		Origin string
		Person remit.ID
		Key    remit.Digest
	}{origin, person, key})
}

// confirming is the older key of p that signed that another one is p's; nil: none that counts at now.
func (s *State) confirming(p *Person, public []byte, key remit.Digest, signature []byte, now int64) []byte {
	for _, k := range p.Keys {
		if !inForce(k, now) || bytes.Equal(k.Public, public) {
			continue
		}
		pub, err := sshsig.ParseKey(k.Public)
		if err != nil {
			continue
		}
		if _, err := sshsig.Verify(pub, ConfirmNamespace, ConfirmStatement(s.Origin, p.ID, key), signature); err == nil {
			return k.Public
		}
	}
	return nil
}

// inForce tells whether a key counts at now, whatever it is asked about.
func inForce(k remit.Key, now int64) bool { return k.Confirmed || k.Usable != 0 && now >= k.Usable }

// keyOwner is whose key it is, of those other than but: of the living, and of the killed, whose keys do not come back
// under another name.
func (s *State) keyOwner(public []byte, but remit.ID) remit.ID {
	for _, id := range sorted(s.People) {
		p := s.People[id]
		if id != but && (!p.Removed || p.Killed) && hasKey(p.Keys, remit.Key{Public: public}) {
			return id
		}
	}
	return ""
}

// AwaitedKey is the key on which an access request decides; ok is false for requests of anything else.
func (s *State) AwaitedKey(access remit.ID) (person remit.ID, key Enrolled, ok bool) {
	a := s.Accesses[access]
	if a == nil || a.Task != "" {
		return "", Enrolled{}, false
	}
	for _, id := range sorted(s.People) {
		for _, k := range s.People[id].Enrolled {
			if k.Access == access {
				return id, k, true
			}
		}
	}
	return "", Enrolled{}, false
}

// admit is what follows when another administrator has approved a key: it counts when KeyDelay is over. There are no
// events for an access request of anything else.
func (s *State) admit(a *Access, now int64) ([]remit.Event, error) {
	person, key, ok := s.AwaitedKey(a.ID)
	if !ok {
		return nil, nil
	}
	if !s.personLive(person) || !s.IsAdmin(a.By) {
		return nil, remit.Errorf(remit.NotLive, "whose key it is has left, or who invited them is no administrator any more")
	}
	return []remit.Event{&remit.KeyAdmitted{Person: person, Key: key.Key, Usable: now + int64(KeyDelay), Access: a.ID}}, nil
}

func decideRemoveKey(s *State, c *RemoveKey) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	p := s.People[c.Person]
	if !s.IsAdmin(c.By) && (c.By != c.Person || !s.personLive(c.By)) {
		return fail(remit.Forbidden, "a key is taken away by whose it is, or by an administrator")
	}
	if p == nil || !slices.ContainsFunc(p.Keys, func(k remit.Key) bool { return remit.Hash(k.Public) == c.Key }) {
		return fail(remit.NotFound, "%s has no such key", c.Person)
	}
	i := slices.IndexFunc(p.Enrolled, func(e Enrolled) bool { return e.Key == c.Key })
	if i < 0 {
		return fail(remit.Conflict, "this key is declared; take it out of the declarations and apply them")
	}
	if s.lastKey(c.Person, c.Key) {
		return fail(remit.Conflict, "this is the last key of the last administrator who has one; nobody could undo it")
	}
	end := s.ending(c.By)
	end.events = []remit.Event{&remit.KeyRemoved{Person: c.Person, Key: c.Key, By: c.By}}
	if id := p.Enrolled[i].Access; s.OpenHolds[id] {
		end.hold(id, remit.Dropped)
	}
	return end.events, Result{}, nil
}

// lastKey tells whether a key is the only one that any administrator has.
func (s *State) lastKey(person remit.ID, key remit.Digest) bool {
	for _, id := range s.Groups[remit.Administrators].Members {
		if s.personLive(id) && slices.ContainsFunc(s.People[id].Keys, func(k remit.Key) bool {
			return (k.Confirmed || k.Usable != 0) && (id != person || remit.Hash(k.Public) != key)
		}) {
			return false
		}
	}
	return true
}

// applyPerson makes true what people are besides their declarations.
func (s *State) applyPerson(n remit.EntryIndex, at int64, e remit.Event) error {
	var id remit.ID
	switch e := e.(type) {
	case *remit.PersonInvited:
		id = e.Person
	case *remit.InvitationWithdrawn:
		id = e.Person
	case *remit.KeyEnrolled:
		id = e.Person
	case *remit.KeyAdmitted:
		id = e.Person
	case *remit.KeyRemoved:
		id = e.Person
	case *remit.GroupsShown:
		id = e.Person
	}
	p := s.People[id]
	if p == nil {
		return fmt.Errorf("unknown person %s", id)
	}
	switch e := e.(type) {
	case *remit.PersonInvited:
		p.Invite = &Invitation{Token: e.Token, NotAfter: e.NotAfter, By: e.By, Entry: n}
	case *remit.InvitationWithdrawn:
		p.Invite = nil
	case *remit.KeyEnrolled:
		if e.By != "" && (p.Invite == nil || p.Invite.By != e.By || at >= p.Invite.NotAfter) {
			return fmt.Errorf("a key of %s without the invitation that brings it", id)
		}
		if e.By != "" {
			p.Invite = nil
			p.Changes = append(p.Changes, Change{e.By, n})
		}
		p.Keys = append(slices.Clone(p.Keys), e.Key)
		p.Keyed = true
		p.Enrolled = append(p.Enrolled, Enrolled{Key: remit.Hash(e.Key.Public), Credential: e.Credential, Label: e.Label, By: e.By, Access: e.Access, At: at})
	case *remit.KeyAdmitted:
		a := s.Accesses[e.Access]
		i := slices.IndexFunc(p.Keys, func(k remit.Key) bool { return remit.Hash(k.Public) == e.Key })
		if i < 0 || a == nil || a.Status != remit.AccessMet {
			return fmt.Errorf("a key of %s is admitted that nobody enrolled or approved", id)
		}
		p.Keys = slices.Clone(p.Keys)
		p.Keys[i].Usable = e.Usable
		s.moveAccess(a, remit.AccessUsed, "")
	case *remit.KeyRemoved:
		p.Keys = slices.DeleteFunc(slices.Clone(p.Keys), func(k remit.Key) bool { return remit.Hash(k.Public) == e.Key })
		p.Enrolled = slices.DeleteFunc(slices.Clone(p.Enrolled), func(x Enrolled) bool { return x.Key == e.Key })
		p.Lost = append(p.Lost, e.Key)
		if e.By != e.Person {
			p.Changes = append(p.Changes, Change{e.By, n})
		}
	case *remit.GroupsShown:
		s.applyShown(n, p, e)
	}
	return nil
}

// applyDeclared puts the declared keys of a person in the place of those that were declared before. Keys that they
// enrolled stay, except of somebody who was removed and comes back.
func (p *Person) applyDeclared(e *remit.PersonDeclared) {
	if p.Removed && !p.Killed {
		p.Enrolled = nil
	}
	keys := slices.Clone(e.Keys)
	kept := p.Enrolled[:0:0]
	for _, x := range p.Enrolled {
		i := slices.IndexFunc(p.Keys, func(k remit.Key) bool { return remit.Hash(k.Public) == x.Key })
		if !hasKey(keys, p.Keys[i]) { // one that is declared by now is enrolled no more
			keys, kept = append(keys, p.Keys[i]), append(kept, x)
		}
	}
	p.Name, p.Keys, p.Identities, p.Enrolled = e.Name, keys, slices.Clone(e.Identities), kept
	p.Keyed = p.Keyed || len(keys) > 0
}

// declared are the keys of a person that stand in the declarations.
func (p *Person) declared() []remit.Key {
	return slices.DeleteFunc(slices.Clone(p.Keys), func(k remit.Key) bool {
		return slices.ContainsFunc(p.Enrolled, func(x Enrolled) bool { return x.Key == remit.Hash(k.Public) })
	})
}
