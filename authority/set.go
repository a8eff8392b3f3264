package authority

import (
	"bytes"
	"slices"

	"github.com/remit-dev/remit"
)

// change is one difference between a set and the state, with the event that makes it true.
type change struct {
	remit.Change
	event remit.Event
}

// Diff is what applying set would change, in the order in which it would be applied, each with why it widens authority
// if it does. A *remit.DeclarationError names the member that is wrong. Nothing is changed.
func Diff(s *State, set *Set) ([]remit.Change, error) {
	changes, err := s.diff("", set)
	var out []remit.Change
	for _, c := range changes {
		out = append(out, c.Change)
	}
	return out, err
}

// decideApply puts a set in force whole, or nothing of it. Where it widens authority and there is a second
// administrator, it holds for them.
func decideApply(s *State, now int64, c *ApplySet) ([]remit.Event, Result, error) {
	if !s.IsAdmin(c.By) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "declarations are applied by administrators")
	}
	changes, err := s.diff(c.By, &c.Set)
	if err != nil {
		return nil, Result{}, err
	}
	res := Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}
	widens := ""
	for _, ch := range changes {
		res.Changes = append(res.Changes, ch.Change)
		if ch.Widens != "" && widens == "" {
			widens = ch.Widens
		}
	}
	if len(changes) == 0 {
		return nil, res, nil
	}
	if c.Access == "" { // what was approved was tried when it was asked for
		if err := s.activate(now, &c.Set, changes); err != nil {
			return nil, Result{}, err
		}
	}
	if widens == "" {
		widens = c.Set.ReachWidens
	}
	digest := digestJSON("set", c.Set)
	ask := control{by: c.By, effect: s.applyEffect(digest), code: remit.ControlWidens, why: widens,
		stale: "other declarations came into force in between; apply the set again"}
	switch {
	case c.Access != "":
		if _, events, res, err := s.claimControl(now, ask, c.Access); events != nil || err != nil {
			return events, res, err
		}
	case widens != "" && s.otherAdmins(c.By) > 0:
		return s.holdControl(now, ask, res)
	}
	return s.enact(now, c, digest, changes), res, nil
}

// Enacted is what would be recorded if set came into force now by the word of by, and nobody were asked for a vote. It is
// for looks ahead, such as what a change would let an attacker reach: it decides nothing.
func Enacted(s *State, now int64, by remit.ID, set *Set) ([]remit.Event, error) {
	changes, err := s.diff(by, set)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	return s.enact(now, &ApplySet{By: by, Set: *set}, digestJSON("set", *set), changes), nil
}

// enact is what is recorded when the changes of a set come into force.
func (s *State) enact(now int64, c *ApplySet, digest remit.Digest, changes []change) []remit.Event {
	end := s.ending(c.By)
	for _, ch := range changes {
		e := ch.event
		if p, ok := e.(*remit.PersonDeclared); ok {
			e = s.stampKeys(p, s.Next+remit.EntryIndex(len(end.events)), now, c.Access != "")
		}
		end.events = append(end.events, e)
		// What rests on something that is no longer declared ends with it.
		if r, ok := e.(*remit.Removed); ok && r.What == "agent" {
			end.agent(r.Name)
		} else if ok && r.What == "person" {
			end.done[c.Access] = true // closed by Applied
			end.person(remit.ID(r.Name))
		}
	}
	return append(end.events, &remit.Applied{By: c.By, Set: digest, Changes: len(changes), Access: c.Access})
}

// applyEffect is what an approval of a set binds: the set, on top of the set in force.
func (s *State) applyEffect(set remit.Digest) remit.Digest {
	return digestJSON("apply", struct {
		Origin string
		Set    remit.Digest
		Base   remit.EntryIndex
	}{s.Origin, set, s.SetEntry})
}

// control is a step that a person takes on Remit itself and another administrator agrees to.
type control struct {
	by     remit.ID
	effect remit.Digest // what the approval binds
	shown  remit.Digest // commitment of what its approver reads besides the card
	code   remit.Code
	why    string // it needs another person
	stale  string // why an approval of another effect is none of this one
}

// holdControl asks for a second administrator; the same question is asked once.
func (s *State) holdControl(now int64, c control, res Result) ([]remit.Event, Result, error) {
	for _, id := range sorted(s.OpenHolds) {
		if a := s.Accesses[id]; a.Task == "" && a.Effect == c.effect && a.By == c.by && now < a.NotAfter && s.since(a.By, a.Entry) {
			res.Decision = remit.Decision{Verdict: remit.Hold, Code: c.code, Access: id, Entry: a.Entry, Sentence: c.why}
			return nil, res, nil
		}
	}
	open := &remit.AccessOpened{ID: newID(s, "A", 0), By: c.by, Effect: c.effect, Shown: c.shown, Needs: []remit.Need{{Group: remit.Administrators, N: 1}},
		Closure: []remit.ID{c.by}, NotAfter: now + int64(HoldLongest), Zone: remit.ZoneControl}
	el := electorate{s: s, closure: open.Closure, needs: open.Needs, zone: open.Zone, made: s.Next, madeAt: now, now: now}
	if _, ok := el.fillable(); !ok {
		return nil, Result{}, remit.Errorf(remit.NoApprover, "%s; that needs a second administrator, and none of them has a key that counts", c.why)
	}
	open.Card = s.cardDigest(open, remit.Caller{}, &verdict{rules: []string{"control"}})
	res.Decision = remit.Decision{Entry: s.Next, Verdict: remit.Hold, Code: c.code, Access: open.ID, Sentence: c.why}
	return []remit.Event{open}, res, nil
}

// claimControl tells who agreed to a control step. If the approval is not one of it that is waiting to be used, there
// are events that say so, or an error.
func (s *State) claimControl(now int64, c control, id remit.ID) (voters []remit.ID, events []remit.Event, res Result, err error) {
	access := s.Accesses[id]
	if access == nil || access.Task != "" || access.By != c.by || access.Status != remit.AccessMet || now >= access.NotAfter || !s.since(c.by, access.Entry) {
		return nil, nil, Result{}, remit.Errorf(remit.AlreadyUsed, "access request %s is not an approval that is waiting to be used", id)
	}
	if access.Effect != c.effect {
		return nil, []remit.Event{&remit.AccessMoved{Access: id, To: remit.AccessVoid, Why: remit.Stale}},
			Result{Decision: remit.Decision{Verdict: remit.Deny, Code: remit.Stale, Access: id, Sentence: c.stale}}, nil
	}
	el := s.electorateOf(access, now)
	votes := s.standing(access, el)
	if !el.met(votes) {
		return nil, []remit.Event{&remit.AccessMoved{Access: id, To: remit.AccessOpen, Why: c.code}},
			Result{Decision: remit.Decision{Verdict: remit.Hold, Code: c.code, Access: id, Sentence: "an approver has left; another vote is needed"}}, nil
	}
	for _, v := range votes {
		voters = add(voters, v.Person)
	}
	return voters, nil, Result{}, nil
}

// stampKeys says from when each key of a person counts: keys that they had as before; the keys of a new person from
// now; a new key of a known person after confirmation with an old one, or 24 hours after a second administrator.
func (s *State) stampKeys(p *remit.PersonDeclared, n remit.EntryIndex, now int64, approved bool) *remit.PersonDeclared {
	out := *p
	out.Keys = nil
	old := s.People[p.ID]
	for _, k := range p.Keys {
		nk := remit.Key{Public: k.Public, Since: n, Confirmed: old == nil}
		if old != nil {
			if i := slices.IndexFunc(old.Keys, func(o remit.Key) bool { return bytes.Equal(o.Public, k.Public) }); i >= 0 {
				nk = old.Keys[i]
			} else if approved {
				nk.Usable = now + int64(KeyDelay)
			}
		}
		out.Keys = append(out.Keys, nk)
	}
	return &out
}
