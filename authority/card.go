package authority

import "github.com/remit-dev/remit"

// CardOf is the fixed part of what people are shown of an access request: s is the state before the command that made
// it, rules are those that held it. Its digest is o.Card, which is how whoever shows it can show that it is this one.
func (s *State) CardOf(o *remit.AccessOpened, agent string, instance remit.ID, rules []string) Card {
	card := Card{Origin: s.Origin, Org: s.Org, Profile: s.Profile, Request: o.ID, Task: o.Task, By: o.By, Effect: o.Effect, Change: o.Change,
		Shown: o.Shown, Needs: o.Needs, Zone: o.Zone, NotAfter: o.NotAfter, Rules: rules, Agent: agent, Instance: instance}
	if t := s.Tasks[o.Task]; t != nil {
		card.Requester, card.Intent, card.Ungoverned = t.Requester, t.Intent, t.Ungoverned
	}
	if i := s.Instances[instance]; i != nil {
		card.Launcher, card.Confinement = i.Launcher, i.Confinement
	}
	if a := s.Agents[agent]; a != nil {
		card.Owner, card.Function = a.Owner, a.Function
	}
	return card
}
