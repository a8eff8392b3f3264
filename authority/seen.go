package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// SeeAccess says that a person has the card of an access request before them.
type SeeAccess struct {
	Access remit.ID
	Person remit.ID
}

func (*SeeAccess) name() string { return "access.see" }

// Seen says that somebody who may vote on an access request has had its card before them.
type Seen struct {
	Person remit.ID
	At     int64
}

// decideSee writes down the first time that somebody who may vote looks. It changes nothing about the request: escalation
// and the time that people take begin here, its end stays what every vote has signed (R6). Looking is never refused, so
// who may not vote, and who looks at what has ended, leaves no entry.
func decideSee(s *State, now int64, c *SeeAccess) ([]remit.Event, Result, error) {
	a := s.Accesses[c.Access]
	switch {
	case a == nil:
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no access request %s", c.Access)
	case a.Status != remit.AccessOpen || now >= a.NotAfter || !s.stands(a, now):
		return nil, Result{}, nil
	case slices.ContainsFunc(a.Seen, func(x Seen) bool { return x.Person == c.Person }):
		return nil, Result{}, nil
	case s.electorateOf(a, now).whyNot(c.Person) != "":
		return nil, Result{}, nil
	}
	return []remit.Event{&remit.AccessSeen{Access: c.Access, Person: c.Person}}, Result{}, nil
}

// notify is who is told of what. Whoever is told may no longer hear of what waits, or others read it: that widens.
func (d *differ) notify() error {
	if d.set.Notify == d.s.Notify {
		return nil
	}
	widens := ""
	if !d.s.Notify.IsZero() {
		widens = "messages about what waits for people go elsewhere, or no longer to all who had them"
	}
	d.add("notify", "channels", "change", widens, &remit.NotifyDeclared{Spec: d.set.Notify, By: d.by})
	return nil
}
