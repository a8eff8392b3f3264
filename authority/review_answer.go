package authority

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// firstLine is who answers for an item: one of the campaign's groups, or the owner of the agent; and the group that answers
// for it where it is escalated.
func (s *State) firstLine(x *Item, now int64) (first func(remit.ID) bool, fallback string) {
	a := s.Agents[x.Agent]
	groups := []string(nil)
	fallback = remit.Administrators
	switch r := s.Runs[x.Run]; {
	case r != nil:
		groups, fallback = r.Reviewers, r.Fallback
	case s.Settings != nil:
		fallback = s.Settings.Fallback
	}
	first = func(p remit.ID) bool {
		if len(groups) == 0 {
			return p == a.Owner
		}
		return slices.ContainsFunc(groups, func(g string) bool { return s.InGroup(g, p, now) })
	}
	return first, fallback
}

// escalated tells whether the fallback group may answer as well: where nobody of the first line could keep an item, and from
// the last reminder on.
func (s *State) escalated(x *Item, first func(remit.ID) bool, now int64) bool {
	if x.Last != 0 {
		return true
	}
	for p := range s.People { // whether there is one
		if first(p) && s.unfit(x, p, remit.Keep, now) == "" {
			return false
		}
	}
	return true
}

// electors is what a signature on an item is verified by. What lies in production takes a touch.
func (s *State) electors(x *Item, now int64) electorate {
	zone := remit.ZoneSource
	if slices.Contains(remit.FunctionZones(s.Agents[x.Agent].Function), remit.ZoneProduction) {
		zone = remit.ZoneProduction
	}
	return electorate{s: s, zone: zone, made: x.Entry, madeAt: x.At, now: now}
}

// unfit tells why a person could not give an answer whatever groups they are in; empty: they could. Nobody keeps, or shrinks,
// what they put there without anybody else: they would certify themselves. In profile solo they may, outside production, with
// a touch. To remove is never refused for that: taking away never waits.
func (s *State) unfit(x *Item, p remit.ID, answer remit.Answer, now int64) string {
	el := s.electors(x, now)
	if !s.personLive(p) {
		return "has left"
	}
	best := el.bestKey(p)
	self := answer != remit.Remove && x.Evidence.Alone && x.Evidence.By == p
	switch {
	case best == "":
		return "has no key that was in force before the item was opened"
	case answer != remit.Remove && el.touchOnly() && best != remit.AssuranceTouch:
		return "has no hardware-backed key (sk-ssh-… or a passkey), which production needs"
	case self && (s.Profile != remit.Solo || el.zone == remit.ZoneProduction):
		return "put it there alone, and nobody certifies what they gave themselves"
	case self && best != remit.AssuranceTouch:
		return "put it there alone, and has no hardware-backed key to say so with"
	}
	return ""
}

// MayAnswer tells why a person may not give an answer to an open item; empty: they may.
//
// Who may keep or shrink: a living person with a key that was in force before the item was opened, who did not put the
// entitlement there alone, and who is of the first line: one of the campaign's groups, or else the owner of the agent. Where
// nobody of the first line could, and from the last reminder on, one of the fallback group may as well. Whoever may keep may
// remove; so may the owner and every administrator, whatever they did before.
func (s *State) MayAnswer(item, p remit.ID, answer remit.Answer, now int64) string {
	x := s.Items[item]
	switch {
	case x == nil || x.Status != remit.ItemOpen || x.over(now):
		return "there is no such item, or it was answered, or its time is over"
	case s.People[p] == nil:
		return "is no person; agents review nothing"
	}
	first, fallback := s.firstLine(x, now)
	gives := answer == remit.Remove && (s.Agents[x.Agent].Owner == p || s.IsAdmin(p))
	switch {
	case gives || first(p):
	case !s.InGroup(fallback, p, now):
		return "is not one of its reviewers"
	case !s.escalated(x, first, now):
		return "is in the group that answers where its reviewers cannot; they still can"
	}
	return s.unfit(x, p, answer, now)
}

// ReviewsFor counts the open items that a person may keep, and says when the first of them ends.
func (s *State) ReviewsFor(p remit.ID, now int64) (n int, ends int64) {
	for _, id := range s.OpenItems.IDs {
		if s.MayAnswer(id, p, remit.Keep, now) != "" {
			continue
		}
		x := s.Items[id]
		if at := max(x.Deadline, x.Ends()); n == 0 || at < ends {
			ends = at
		}
		n++
	}
	return n, ends
}

// ReviewersOf lists, in order, who may keep an item now. Escalated tells that the fallback group is among them; nobody at
// all means that it lapses.
func (s *State) ReviewersOf(item remit.ID, now int64) (may []remit.ID, fallback string, escalated bool) {
	x := s.Items[item]
	if x == nil || x.Status != remit.ItemOpen {
		return nil, "", false
	}
	first, fallback := s.firstLine(x, now)
	escalated = s.escalated(x, first, now)
	for _, p := range sorted(s.People) {
		if (first(p) || escalated && s.InGroup(fallback, p, now)) && s.unfit(x, p, remit.Keep, now) == "" {
			may = append(may, p)
		}
	}
	return may, fallback, escalated
}

// HoldingOf is what an open item is about, as it is used now; nil where there is no such thing any more, or never was.
func (s *State) HoldingOf(x *Item) *Holding {
	return s.Agents[x.Agent].Holds[x.Key]
}

// decideAnswers is one signed statement about items: each of them is open, is as the statement says, and may be answered so
// by who signed; or none of it is done.
func decideAnswers(s *State, now int64, c *Answers) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	if s.People[c.By] == nil {
		return fail(remit.UnknownPrincipal, "agents review nothing; people do")
	}
	st, err := remit.ParseCertification(c.Statement)
	if err != nil {
		return nil, Result{}, err
	}
	if st.Origin != s.Origin {
		return fail(remit.BadVote, "the statement is for log %s, not %s", st.Origin, s.Origin)
	}
	var events []remit.Event
	for _, a := range st.Answers {
		x := s.Items[a.Item]
		switch {
		case x == nil:
			return fail(remit.NotFound, "there is no item %s, or it ended more than %d days ago", a.Item, ItemsKept/(24*time.Hour))
		case x.Status != remit.ItemOpen:
			return fail(remit.AlreadyUsed, "item %s was ended by entry %d: %s", a.Item, x.Ended, x.Status)
		case x.over(now):
			return fail(remit.Expired, "the time for item %s is over since %s", a.Item, time.Unix(0, x.Ends()).UTC().Format(time.RFC3339))
		case a.Shown != x.Shown:
			return fail(remit.BadVote, "the statement is about another item than %s shows; look at it again", a.Item)
		}
		if why := s.MayAnswer(a.Item, c.By, a.Answer, now); why != "" {
			return fail(remit.NotEligible, "you may not answer %s with %s: %s %s", a.Item, a.Answer, c.By, why)
		}
		key, how, err := s.certified(x, c, a.Answer, now)
		if err != nil {
			return nil, Result{}, err
		}
		left, err := s.remaining(x, a.Answer)
		if err != nil {
			return nil, Result{}, err
		}
		events = append(events, &remit.ReviewAnswered{Item: a.Item, By: c.By, Answer: a.Answer, Key: key, Assurance: how, Statement: remit.Hash(c.Statement), Canary: x.Canary})
		if a.Answer != remit.Keep && !x.Canary {
			events = append(events, &remit.ReviewRemoved{Item: a.Item, Agent: x.Agent, By: c.By, Left: left})
		}
	}
	return events, Result{}, nil
}

// remaining is what a shrink leaves. What was never used, and what was used whole, is not shrunk.
func (s *State) remaining(x *Item, answer remit.Answer) ([]remit.Scope, error) {
	if answer != remit.Shrink {
		return nil, nil
	}
	h := s.HoldingOf(x)
	switch {
	case x.Function != "":
		return nil, remit.Errorf(remit.BadRequest, "item %s is about one function, which is kept or removed", x.ID)
	case h == nil || h.Uses == 0:
		return nil, remit.Errorf(remit.BadRequest, "nothing of item %s was used, so nothing would be left; keep or remove it", x.ID)
	case !h.shrinks():
		return nil, remit.Errorf(remit.BadRequest, "all of item %s was used; keep or remove it", x.ID)
	}
	return h.Shrunk(), nil
}

// certified finds the key of a person that counts for an item and signed the statement, and says what it proves.
func (s *State) certified(x *Item, c *Answers, answer remit.Answer, now int64) (key remit.Digest, how remit.Assurance, err error) {
	el := s.electors(x, now)
	for _, k := range s.People[c.By].Keys {
		pub, perr := sshsig.ParseKey(k.Public)
		if perr != nil || !el.keyCounts(k) {
			continue
		}
		touch, verr := sshsig.Verify(pub, remit.ReviewNamespace, c.Statement, c.Signature)
		if verr != nil {
			continue
		}
		key, how = remit.Hash(k.Public), remit.AssuranceSoftware
		self := x.Evidence.Alone && x.Evidence.By == c.By
		switch {
		case touch && self && answer != remit.Remove:
			how = remit.AssuranceSelf
		case touch:
			how = remit.AssuranceTouch
		case s.Profile == remit.Demo:
			how = remit.AssuranceNone
		case answer == remit.Remove: // whoever may answer may always take away
		case self || el.touchOnly():
			return key, how, remit.Errorf(remit.BadVote, "to keep item %s needs a touch of a hardware-backed key (sk-ssh-… or a passkey)", x.ID)
		case s.unconfined(x.Agent, c):
			return key, how, remit.Errorf(remit.BadVote,
				"this answer comes from a host where agent %s runs unconfined, which could have given it itself; answer from another host, or with a hardware-backed key", x.Agent)
		}
		return key, how, nil
	}
	return key, "", remit.Errorf(remit.BadVote, "no key of yours that counts for item %s made this signature", x.ID)
}

// unconfined tells whether a command comes from where a live task of an agent ran unconfined.
func (s *State) unconfined(agent string, c *Answers) bool {
	return slices.ContainsFunc(s.Agents[agent].Tasks.IDs, func(id remit.ID) bool {
		t := s.Tasks[id]
		return s.LiveTasks[id] && len(t.Hosts) > 0 && (c.Loopback || slices.Contains(t.Hosts, c.Host))
	})
}

// decideOpenRun opens a run of a campaign now.
func decideOpenRun(s *State, now int64, c *OpenRun) ([]remit.Event, Result, error) {
	camp := s.Campaigns[c.Campaign]
	switch {
	case !s.IsAdmin(c.By):
		return nil, Result{}, remit.Errorf(remit.Forbidden, "a campaign is opened before its time by an administrator")
	case camp == nil:
		return nil, Result{}, remit.Errorf(remit.NotFound, "no campaign %q is declared", c.Campaign)
	case camp.Open != "":
		return nil, Result{}, remit.Errorf(remit.Conflict, "run %s of campaign %s is open", camp.Open, c.Campaign)
	}
	e := s.openRun(camp, 0, now, now)
	e.By = c.By
	return []remit.Event{e}, Result{ID: e.ID}, nil
}
