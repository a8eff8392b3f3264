package judge_test

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// keyBends are the ways in which a log can be wrong about keys that people enrol, and about groups at providers.
var keyBends = []bend{
	{"somebody else invites", "control", on(func(l []line, i int, e *remit.PersonInvited) []line { e.By = "p-mia"; return l })},
	{"somebody who has a key is invited", "control", on(func(l []line, i int, e *remit.PersonInvited) []line { e.Person = "p-ada"; return l })},
	{"an invitation for a week", "control", on(func(l []line, i int, e *remit.PersonInvited) []line {
		e.NotAfter += int64(7 * 24 * time.Hour)
		return l
	})},
	{"an invitation without a secret", "control", on(func(l []line, i int, e *remit.PersonInvited) []line { e.Token = remit.Digest{}; return l })},
	{"somebody else withdraws an invitation", "control", on(func(l []line, i int, e *remit.InvitationWithdrawn) []line { e.By = "p-mia"; return l })},
	{"a withdrawn invitation brings a key", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		return with(l, i, &remit.InvitationWithdrawn{Person: e.Person, By: e.By})
	})},
	{"another administrator's invitation brings a key", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.By = "p-bob"; l[i-1].e.Kind() == "" || slices.ContainsFunc(l[:i], func(x line) bool { v, ok := x.e.(*remit.PersonInvited); return ok && v.By == "p-bob" }) {
			return nil
		}
		return l
	})},
	{"an old invitation brings a key", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		for k := i; k < len(l); k++ {
			l[k].at = l[k].at.Add(25 * time.Hour)
		}
		return l[:i+1]
	})},
	{"a key by invitation counts at once", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.Access == "" {
			return nil
		}
		e.Key.Confirmed = true
		return l
	})},
	{"a key by invitation has its day before the vote", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.Access == "" {
			return nil
		}
		e.Key.Usable = l[i].at.Add(24 * time.Hour).UnixNano()
		return l
	})},
	{"a key by invitation waits for nobody", "control", byInvitation(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.Access == "" {
			return nil
		}
		e.Access = ""
		return l
	})},
	{"a key that nobody confirms", "control", withOlder(func(l []line, i int, e *remit.KeyEnrolled) []line { e.With = remit.Digest{1}; return l })},
	{"a key that confirms itself", "control", withOlder(func(l []line, i int, e *remit.KeyEnrolled) []line { e.With = remit.Hash(e.Key.Public); return l })},
	{"a key that counted before it came", "control", on(func(l []line, i int, e *remit.KeyEnrolled) []line { e.Key.Since = 3; return l })},
	{"somebody enrols another's key", "R3", on(func(l []line, i int, e *remit.KeyEnrolled) []line {
		for _, x := range l[:i] {
			if p, ok := x.e.(*remit.PersonDeclared); ok && p.ID == "p-ada" && e.Person != "p-ada" {
				e.Key.Public = p.Keys[0].Public
				return l
			}
		}
		return nil
	})},
	{"a key is admitted without votes", "R6", on(func(l []line, i int, e *remit.KeyAdmitted) []line {
		for k := i - 1; k > 0; k-- {
			if v, ok := l[k].e.(*remit.VoteCast); ok && v.Access == e.Access {
				return append(drop(l, k)[:i-1], line{l[i].at, e})
			}
		}
		return nil
	})},
	{"a key is admitted that was not asked about", "control", on(func(l []line, i int, e *remit.KeyAdmitted) []line { e.Key = remit.Digest{1}; return l })},
	{"an admitted key counts at once", "control", on(func(l []line, i int, e *remit.KeyAdmitted) []line { e.Usable = l[i].at.UnixNano(); return l })},
	{"who invited admits the key", "R3", on(func(l []line, i int, e *remit.AccessOpened) []line {
		k, ok := l[i-1].e.(*remit.KeyEnrolled)
		if !ok || k.Access != e.ID {
			return nil
		}
		e.Closure = []remit.ID{k.Person}
		return l
	})},
	{"whose the key is admits it", "R3", on(func(l []line, i int, e *remit.KeyAdmitted) []line {
		for k := i - 1; k > 0; k-- {
			if a, ok := l[k].e.(*remit.AccessOpened); ok && a.ID == e.Access {
				a.Closure = []remit.ID{a.By}
				return l[:i+1]
			}
		}
		return nil
	})},
	{"somebody takes another's key away", "control", on(func(l []line, i int, e *remit.KeyRemoved) []line {
		e.By = "p-tom"
		if e.Person == "p-tom" {
			e.By = "p-sam"
		}
		return l
	})},
	{"a declared key is taken away", "control", on(func(l []line, i int, e *remit.KeyRemoved) []line { e.Key = remit.Digest{1}; return l })},
	{"a key comes back that was taken away", "control", on(func(l []line, i int, e *remit.KeyRemoved) []line {
		for k := i - 1; k > 0; k-- {
			if x, ok := l[k].e.(*remit.KeyEnrolled); ok && remit.Hash(x.Key.Public) == e.Key {
				again := *x
				again.Key.Since = remit.EntryIndex(i + 1)
				return with(l, i+1, &again)[:i+2]
			}
		}
		return nil
	})},
	{"a vote by a key that is gone", "R3", on(func(l []line, i int, e *remit.VoteCast) []line {
		for _, x := range l[:i] {
			if k, ok := x.e.(*remit.KeyEnrolled); ok && k.Person == e.Person && remit.Hash(k.Key.Public) == e.Key {
				return with(l, i, &remit.KeyRemoved{Person: e.Person, Key: e.Key, By: "p-ada"})
			}
		}
		return nil
	})},
	{"a sign-in that counts for a week", "R3", on(func(l []line, i int, e *remit.GroupsShown) []line {
		e.NotAfter += int64(7 * 24 * time.Hour)
		return l
	})},
	{"a sign-in of nobody", "R3", on(func(l []line, i int, e *remit.GroupsShown) []line { e.Person = "p-eve"; return l })},
	{"one identity is two people's", "R3", anywhere(func(l []line, i int) []line {
		if i != house {
			return nil
		}
		return with(l, i, &remit.PersonDeclared{ID: "p-x", By: "p-ada", Identities: []remit.Digest{{1}}}, &remit.PersonDeclared{ID: "p-y", By: "p-ada", Identities: []remit.Digest{{1}}})[:i+2]
	})},
}

// byInvitation and withOlder bend keys that came so.
func byInvitation(bend func(l []line, i int, e *remit.KeyEnrolled) []line) kind {
	return on(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.By == "" {
			return nil
		}
		return bend(l, i, e)
	})
}

func withOlder(bend func(l []line, i int, e *remit.KeyEnrolled) []line) kind {
	return on(func(l []line, i int, e *remit.KeyEnrolled) []line {
		if e.By != "" {
			return nil
		}
		return bend(l, i, e)
	})
}
