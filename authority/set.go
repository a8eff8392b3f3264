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
	digest := digestJSON("set", c.Set)
	access := s.Accesses[c.Access]
	switch {
	case c.Access != "":
		if access == nil || access.Task != "" || access.By != c.By || access.Status != remit.AccessMet || now >= access.NotAfter {
			return nil, Result{}, remit.Errorf(remit.AlreadyUsed, "access request %s is not an approval that is waiting to be used", c.Access)
		}
		if access.Effect != s.applyEffect(digest) {
			return []remit.Event{&remit.AccessMoved{Access: c.Access, To: remit.AccessVoid, Why: remit.Stale}},
				Result{Decision: remit.Decision{Verdict: remit.Deny, Code: remit.Stale, Access: c.Access,
					Sentence: "other declarations came into force in between; apply the set again"}}, nil
		}
		el := s.electorateOf(access, now)
		if !el.met(s.standing(access, el)) {
			return []remit.Event{&remit.AccessMoved{Access: c.Access, To: remit.AccessOpen, Why: remit.ControlWidens}},
				Result{Decision: remit.Decision{Verdict: remit.Hold, Code: remit.ControlWidens, Access: c.Access,
					Sentence: "an approver has left; another vote is needed"}}, nil
		}
	case widens != "" && s.otherAdmins(c.By) > 0:
		return s.holdControl(now, c, digest, widens, res)
	}
	end := s.ending(c.By)
	for _, ch := range changes {
		e := ch.event
		if p, ok := e.(*remit.PersonDeclared); ok {
			e = s.stampKeys(p, s.Next+remit.EntryIndex(len(end.events)), now, c.Access != "")
		}
		end.events = append(end.events, e)
		// What rests on something that is no longer declared ends with it.
		if r, ok := e.(*remit.Removed); ok && r.What == "agent" {
			end.tasks(remit.TaskKilled, func(t *Task) bool { return t.Agent == r.Name })
		} else if ok && r.What == "person" {
			end.done[c.Access] = true // closed by Applied
			end.person(remit.ID(r.Name), remit.TaskKilled)
		}
	}
	return append(end.events, &remit.Applied{By: c.By, Set: digest, Changes: len(changes), Access: c.Access}), res, nil
}

// applyEffect is what an approval of a set binds: the set, on top of the set in force.
func (s *State) applyEffect(set remit.Digest) remit.Digest {
	return digestJSON("apply", struct {
		Origin string
		Set    remit.Digest
		Base   remit.EntryIndex
	}{s.Origin, set, s.SetEntry})
}

func (s *State) holdControl(now int64, c *ApplySet, digest remit.Digest, widens string, res Result) ([]remit.Event, Result, error) {
	effect := s.applyEffect(digest)
	for _, id := range sorted(s.OpenHolds) {
		if a := s.Accesses[id]; a.Task == "" && a.Effect == effect && a.By == c.By && now < a.NotAfter {
			res.Decision = remit.Decision{Verdict: remit.Hold, Code: remit.ControlWidens, Access: id, Entry: a.Entry, Sentence: widens}
			return nil, res, nil
		}
	}
	open := &remit.AccessOpened{ID: newID(s, "A", 0), By: c.By, Effect: effect, Needs: []remit.Need{{Group: remit.Administrators, N: 1}},
		Closure: []remit.ID{c.By}, NotAfter: now + int64(HoldLongest), Zone: remit.ZoneControl}
	el := electorate{s: s, closure: open.Closure, needs: open.Needs, zone: open.Zone, made: s.Next, madeAt: now, now: now}
	if may, _ := el.eligible(); !el.met(may) {
		return nil, Result{}, remit.Errorf(remit.NoApprover, "%s; that needs a second administrator, and none of them has a key that counts", widens)
	}
	open.Card = s.cardDigest(open, remit.Caller{}, &verdict{rules: []string{"control"}})
	res.Decision = remit.Decision{Entry: s.Next, Verdict: remit.Hold, Code: remit.ControlWidens, Access: open.ID, Sentence: widens}
	return []remit.Event{open}, res, nil
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
