package judge

import (
	"bytes"
	"slices"

	"github.com/remit-dev/remit"
)

// people is what the log says of people besides their declarations.
type people struct {
	invited    map[remit.ID]invitation
	enrolled   map[remit.ID]map[remit.Digest]remit.KeyEnrolled
	keyed      map[remit.ID]bool // who has, or had, a key
	identities map[remit.ID][]remit.Digest
	lost       map[remit.ID][]remit.Digest // keys that were taken away
	from       map[string][]remit.GroupSource
	shown      map[remit.ID]map[remit.GroupSource]shown
}

type (
	invitation struct {
		remit.PersonInvited
		entry int
	}
	shown struct {
		since int // the entry that showed it first
		until int64
	}
)

func newPeople() people {
	return people{invited: map[remit.ID]invitation{}, enrolled: map[remit.ID]map[remit.Digest]remit.KeyEnrolled{}, keyed: map[remit.ID]bool{}, identities: map[remit.ID][]remit.Digest{}, lost: map[remit.ID][]remit.Digest{},
		from: map[string][]remit.GroupSource{}, shown: map[remit.ID]map[remit.GroupSource]shown{}}
}

// person is what the log says of somebody besides what is declared of them.
func (j *Judge) person(n int, at int64, event remit.Event) string {
	alive := func(p remit.ID) bool { return j.keys[p] != nil && !j.dead[p] }
	switch e := event.(type) {
	case *remit.PersonInvited:
		switch {
		case !j.admin(e.By):
			return "control: somebody who is no administrator invites"
		case !alive(e.Person) || len(j.keys[e.Person]) > 0:
			return "control: an invitation of somebody who is not here, or has a key"
		case e.NotAfter > at+day || e.Token.IsZero():
			return "control: an invitation that is good for longer than a day, or has no secret"
		}
		j.people.invited[e.Person] = invitation{*e, n}
	case *remit.InvitationWithdrawn:
		if !j.admin(e.By) {
			return "control: somebody who is no administrator withdraws an invitation"
		}
		delete(j.people.invited, e.Person)
	case *remit.KeyEnrolled:
		return j.enrols(n, at, e)
	case *remit.KeyAdmitted:
		return j.admits(at, e)
	case *remit.KeyRemoved:
		if _, enrolled := j.people.enrolled[e.Person][e.Key]; !enrolled {
			return "control: a key is taken away that nobody enrolled"
		}
		if !j.admin(e.By) && (e.By != e.Person || j.dead[e.By]) {
			return "control: a key is taken away by somebody whose it is not"
		}
		if e.By != e.Person {
			j.changed["person/"+string(e.Person)] = append(j.changed["person/"+string(e.Person)], change{e.By, n})
		}
		j.people.lost[e.Person] = append(j.people.lost[e.Person], e.Key)
		delete(j.people.enrolled[e.Person], e.Key)
		j.keys[e.Person] = slices.DeleteFunc(j.keys[e.Person], func(k remit.Key) bool { return remit.Hash(k.Public) == e.Key })
	case *remit.GroupsShown:
		if !alive(e.Person) || e.NotAfter > at+day {
			return "R3: a sign-in of somebody who is not here, or one that counts for longer than a day"
		}
		was, now := j.people.shown[e.Person], map[remit.GroupSource]shown{}
		for g, x := range was {
			if g.Issuer != e.Issuer {
				now[g] = x
			}
		}
		for _, name := range e.Groups {
			g := remit.GroupSource{Issuer: e.Issuer, Group: name}
			x := shown{n, e.NotAfter}
			if old, had := was[g]; had {
				x.since = old.since
			}
			now[g] = x
		}
		j.people.shown[e.Person] = now
	}
	return ""
}

// inForce tells whether a key counts at all at a time.
func inForce(k remit.Key, at int64) bool { return k.Confirmed || k.Usable != 0 && at >= k.Usable }

// enrols: a key is one person's. It comes with an older key of theirs, or by an administrator's invitation; then it does
// not count before another administrator has said so, if there is one who could.
func (j *Judge) enrols(n int, at int64, e *remit.KeyEnrolled) string {
	for id, keys := range j.keys {
		for _, k := range keys {
			if bytes.Equal(k.Public, e.Key.Public) && (!j.dead[id] || j.killed[id]) {
				return "R3: one key is two people's, or stands twice"
			}
		}
	}
	if slices.Contains(j.people.lost[e.Person], remit.Hash(e.Key.Public)) {
		return "control: a key comes back that was taken away"
	}
	if j.keys[e.Person] == nil || j.dead[e.Person] || int(e.Key.Since) != n {
		return "control: a key of somebody who is not here, or one that counted before it came"
	}
	inv := j.people.invited[e.Person]
	switch {
	case e.By == "" && (!e.Key.Confirmed || e.Access != "" || !slices.ContainsFunc(j.keys[e.Person], func(k remit.Key) bool { return remit.Hash(k.Public) == e.With && inForce(k, at) })):
		return "control: a key that no older key confirms"
	case e.By == "":
	case inv.By != e.By || at >= inv.NotAfter || !j.admin(e.By) || inv.entry < max(j.cut[e.By], j.cut[e.Person], j.forked) || len(j.keys[e.Person]) > 0:
		return "control: a key without the invitation that it came by"
	case j.another(at, e.By, e.Person):
		if e.Key.Confirmed || e.Key.Usable != 0 || e.Access == "" {
			return "control: a key that came by invitation counts before another administrator agreed"
		}
	case e.Key.Confirmed && j.people.keyed[e.Person], !e.Key.Confirmed && e.Key.Usable < at+day:
		return "control: a key that takes the place of a lost one counts before a day is over"
	}
	if e.By != "" {
		delete(j.people.invited, e.Person)
		j.changed["person/"+string(e.Person)] = append(j.changed["person/"+string(e.Person)], change{e.By, n})
	}
	if j.people.enrolled[e.Person] == nil {
		j.people.enrolled[e.Person] = map[remit.Digest]remit.KeyEnrolled{}
	}
	j.people.enrolled[e.Person][remit.Hash(e.Key.Public)] = *e
	j.people.keyed[e.Person] = true
	j.keys[e.Person] = append(slices.Clone(j.keys[e.Person]), e.Key)
	return ""
}

// another tells whether an administrator other than these has a key that counts.
func (j *Judge) another(at int64, than ...remit.ID) bool {
	return slices.ContainsFunc(j.groups[remit.Administrators], func(p remit.ID) bool {
		return !j.dead[p] && !slices.Contains(than, p) && slices.ContainsFunc(j.keys[p], func(k remit.Key) bool { return inForce(k, at) })
	})
}

// admits: another administrator has voted for the key, and the day begins.
func (j *Judge) admits(at int64, e *remit.KeyAdmitted) string {
	k, enrolled := j.people.enrolled[e.Person][e.Key]
	a := j.access[e.Access]
	switch {
	case !enrolled || k.Access != e.Access || j.dead[e.Person]:
		return "control: a key is admitted that nobody enrolled, or whose person has left"
	case a == nil || a.Task != "" || a.By != k.By || !j.admin(a.By) || a.status != remit.AccessMet || !j.met(a, at, a.Needs):
		return "R6: a key is admitted without the votes that it needs"
	case !slices.Contains(a.Closure, e.Person) || !slices.ContainsFunc(a.Needs, func(n remit.Need) bool { return n.Group == remit.Administrators && n.N > 0 }):
		return "R3: a key is admitted by others than another administrator"
	case e.Usable < at+day:
		return "control: a key that came by invitation counts before a day is over"
	}
	for i := range j.keys[e.Person] {
		if remit.Hash(j.keys[e.Person][i].Public) == e.Key {
			j.keys[e.Person][i].Usable = e.Usable
		}
	}
	return j.move(a, remit.AccessUsed)
}

// redeclared takes up the declared keys of somebody, and keeps those that they enrolled.
func (j *Judge) redeclared(e *remit.PersonDeclared) string {
	for id, had := range j.people.identities {
		if id != e.ID && (!j.dead[id] || j.killed[id]) && slices.ContainsFunc(e.Identities, func(x remit.Digest) bool { return slices.Contains(had, x) }) {
			return "R3: one identity is two people's"
		}
	}
	j.people.identities[e.ID] = e.Identities
	keys := append([]remit.Key{}, e.Keys...)
	if j.dead[e.ID] && !j.killed[e.ID] {
		delete(j.people.enrolled, e.ID)
	}
	for _, k := range j.keys[e.ID] {
		d := remit.Hash(k.Public)
		if _, enrolled := j.people.enrolled[e.ID][d]; !enrolled {
			continue
		}
		if slices.ContainsFunc(e.Keys, func(o remit.Key) bool { return bytes.Equal(o.Public, k.Public) }) {
			delete(j.people.enrolled[e.ID], d)
			continue
		}
		keys = append(keys, k)
	}
	j.keys[e.ID] = keys
	j.people.keyed[e.ID] = j.people.keyed[e.ID] || len(keys) > 0
	return ""
}

// in tells whether somebody decides with a group, at a time, on what was made by an entry: as declared, or because a
// sign-in before it showed them there.
func (j *Judge) in(group string, p remit.ID, at int64, made int) bool {
	if slices.Contains(j.groups[group], p) {
		return true
	}
	for _, f := range j.people.from[group] {
		if x, ok := j.people.shown[p][f]; ok && x.since < made && at < x.until {
			return true
		}
	}
	return false
}

// everyone is who a group's members are, or were when they last signed in.
func (j *Judge) everyone(group string) []remit.ID {
	all := slices.Clone(j.groups[group])
	for p, in := range j.people.shown {
		if slices.ContainsFunc(j.people.from[group], func(f remit.GroupSource) bool { _, ok := in[f]; return ok }) {
			all = append(all, p)
		}
	}
	return all
}
