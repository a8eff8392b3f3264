package authority

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// decideVote is R3 and R6 for one signed statement: it fits the request in every digest, is signed by a key of the
// person that was in force before the request was made, and the person may.
func decideVote(s *State, now int64, c *CastVote) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	a := s.Accesses[c.Access]
	if a == nil {
		return fail(remit.NotFound, "there is no access request %s", c.Access)
	}
	if a.Status != remit.AccessOpen || now >= a.NotAfter {
		return fail(remit.Conflict, "access request %s is %s; there is nothing to vote on", c.Access, a.statusAt(now))
	}
	if !s.stands(a, now) {
		return fail(remit.NotLive, "what access request %s asks for has ended with its task, or with who asked", c.Access)
	}
	el := s.electorateOf(a, now)
	if s.People[c.Person] == nil {
		return fail(remit.UnknownPrincipal, "agents never vote; people do")
	}
	if why := el.whyNot(c.Person); why != "" {
		return fail(remit.NotEligible, "you may not vote on %s: %s %s", c.Access, c.Person, why)
	}
	st, err := remit.ParseStatement(c.Statement)
	if err != nil {
		return nil, Result{}, err
	}
	switch {
	case st.Origin != s.Origin:
		return fail(remit.BadVote, "the statement is for log %s, not %s", st.Origin, s.Origin)
	case st.Request != c.Access:
		return fail(remit.BadVote, "the statement is for request %s, not %s", st.Request, c.Access)
	case st.Effect != a.Effect || st.Change != a.Change || st.Card != a.Card:
		return fail(remit.BadVote, "the statement binds another effect, change or card than %s has; look at it again", c.Access)
	case st.NotAfter.Unix() != time.Unix(0, a.NotAfter).Unix():
		return fail(remit.BadVote, "the statement ends at another time than %s does", c.Access)
	}
	key, touch, err := el.verify(c)
	if err != nil {
		return nil, Result{}, err
	}
	v := &remit.VoteCast{Access: c.Access, Person: c.Person, Approve: st.Approve, Key: remit.Hash(key), Statement: remit.Hash(c.Statement)}
	if v.Signed, err = c.signedIn(now); err != nil {
		return nil, Result{}, err
	}
	if err := el.steppedUp(a, v); err != nil && st.Approve {
		return nil, Result{}, err
	}
	v.Assurance, err = s.assurance(a, el, c, touch)
	if err != nil && st.Approve { // whoever may vote may always refuse
		return nil, Result{}, err
	}
	events := []remit.Event{v}
	if !st.Approve {
		end := s.ending(c.Person)
		end.hold(c.Access, remit.Vetoed)
		end.idle(a.Task, c.Access)
		return append(events, end.events...), Result{}, nil
	}
	votes := s.standing(a, el)
	if v.Assurance != remit.AssuranceSelf { // that counts when the delay is over: the tick meets it
		votes = append(votes, Vote{Person: v.Person, Approve: true, Key: v.Key, Assurance: v.Assurance, Signed: v.Signed})
	}
	if el.met(votes) {
		admitted, err := s.admit(a, now)
		if err != nil {
			return nil, Result{}, err
		}
		events = append(append(events, &remit.AccessMoved{Access: c.Access, To: remit.AccessMet}), admitted...)
	}
	return events, Result{}, nil
}

// electorateOf is who may vote on an access request at t. Its closure is what it was when the request was made and
// whoever has joined since.
func (s *State) electorateOf(a *Access, now int64) electorate {
	closure := a.Closure
	if t := s.Tasks[a.Task]; t != nil {
		all, _ := s.closure(t, a.Steps, a.Needs, a.Artifacts...)
		closure = mergeIDs(closure, all)
	}
	return electorate{s: s, closure: closure, needs: a.Needs, zone: a.Zone, made: a.Entry, madeAt: a.At, now: now}
}

// MayVote tells why a person may not vote on an access request; empty: they may.
func (s *State) MayVote(access, person remit.ID, now int64) string {
	a := s.Accesses[access]
	if a == nil {
		return "there is no such request"
	}
	return s.electorateOf(a, now).whyNot(person)
}

// Eligible lists who may vote on an access request, and why others who are named may not.
func (s *State) Eligible(access remit.ID, now int64) (may []remit.ID, refused []string) {
	a := s.Accesses[access]
	if a == nil {
		return nil, nil
	}
	return s.electorateOf(a, now).eligible()
}

// verify finds the key of the person that signed; keys that do not count yet do not sign.
func (e electorate) verify(c *CastVote) (key []byte, touch bool, err error) {
	err = remit.Errorf(remit.BadVote, "no declared key of yours that counts for %s made this signature", c.Access)
	for _, k := range e.s.People[c.Person].Keys {
		if !e.keyCounts(k) {
			continue
		}
		pub, perr := sshsig.ParseKey(k.Public)
		if perr != nil {
			continue
		}
		if touch, verr := sshsig.Verify(pub, remit.VoteNamespace, c.Statement, c.Signature); verr == nil {
			return k.Public, touch, nil
		}
	}
	return nil, false, err
}

// assurance says what a vote proves, and refuses one that proves too little for what it would approve.
func (s *State) assurance(a *Access, el electorate, c *CastVote, touch bool) (remit.Assurance, error) {
	if slices.Contains(el.closure, c.Person) { // only the solo profile lets them come so far
		if !touch {
			return remit.AssuranceSoftware, remit.Errorf(remit.BadVote, "your own request needs a touch of a hardware-backed key")
		}
		return remit.AssuranceSelf, nil
	}
	if touch {
		return remit.AssuranceTouch, nil
	}
	if s.Profile == remit.Demo {
		return remit.AssuranceNone, nil
	}
	if el.touchOnly() {
		return remit.AssuranceSoftware, remit.Errorf(remit.BadVote, "a vote on production needs a touch of a hardware-backed key (sk-ssh-… or a passkey)")
	}
	if t := s.Tasks[a.Task]; t != nil && len(t.Hosts) > 0 && (c.Loopback || slices.Contains(t.Hosts, c.Host)) {
		return remit.AssuranceSoftware, remit.Errorf(remit.BadVote,
			"this vote comes from a host where the task ran unconfined, which could have cast it itself; vote from another host, or with a hardware-backed key")
	}
	return remit.AssuranceSoftware, nil
}

func (a *Access) statusAt(now int64) remit.AccessStatus {
	if (a.Status == remit.AccessOpen || a.Status == remit.AccessMet) && now >= a.NotAfter {
		return remit.AccessVoid
	}
	return a.Status
}

// ConfirmNamespace is the SSHSIG namespace in which an old key confirms a new one.
const ConfirmNamespace = "key@remit"

// ConfirmStatement is what is signed to confirm a key.
func ConfirmStatement(origin string, person remit.ID, key remit.Digest) []byte {
	return []byte("remit key confirmation v1\norigin: " + origin + "\nperson: " + string(person) + "\nkey: " + key.String() + "\n")
}

func decideConfirmKey(s *State, now int64, c *ConfirmKey) ([]remit.Event, Result, error) {
	p := s.People[c.Person]
	if p == nil || !s.personLive(c.Person) {
		return nil, Result{}, remit.Errorf(remit.UnknownPrincipal, "there is no such person")
	}
	i := slices.IndexFunc(p.Keys, func(k remit.Key) bool { return remit.Hash(k.Public) == c.Key })
	if i < 0 || p.Keys[i].Confirmed {
		return nil, Result{}, remit.Errorf(remit.Conflict, "that key is not declared, or needs no confirmation")
	}
	if s.confirming(p, p.Keys[i].Public, c.Key, c.Signature, now) == nil {
		return nil, Result{}, remit.Errorf(remit.BadVote, "the confirmation is not signed by an older key of yours that counts")
	}
	return []remit.Event{&remit.KeyConfirmed{Person: c.Person, Key: c.Key}}, Result{}, nil
}
