package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

func (j *Judge) opened(n int, at int64, e *remit.AccessOpened, held *remit.Decided) string {
	a := &access{AccessOpened: *e, entry: n, at: at, status: remit.AccessOpen}
	j.access[e.ID] = a
	if len(e.Needs) == 0 || e.NotAfter > at+day {
		return "R6: a hold that asks nobody, or for longer than a day"
	}
	if e.Task == "" {
		if !slices.Contains(e.Closure, e.By) {
			return "R3: who asks is not in the closure"
		}
		return ""
	}
	if held == nil || held.Verdict != remit.Hold || held.Task != e.Task || held.Access != e.ID {
		return "R6: a hold that no decision made"
	}
	a.launcher, a.steps = j.runs[held.Instance].Launcher, held.Steps
	j.chain.held[e.ID] = *held
	t := j.tasks[e.Task]
	a.agent = t.Agent
	lacks := ""
	j.up(t, func(t *task) {
		for p := range t.causes {
			if !slices.Contains(e.Closure, p) {
				lacks = fmt.Sprintf("R3: the closure %v lacks %s, who caused it", e.Closure, p)
			}
		}
		for p := range t.claimed {
			if !slices.Contains(e.Closure, p) {
				lacks = "R3: the closure shrinks"
			}
		}
	})
	if lacks != "" {
		return lacks
	}
	for _, p := range e.Closure {
		t.claimed[p] = true
	}
	if why := j.asksTooOften(at, e); why != "" {
		return why
	}
	if why := j.asksForAll(e, held, t); why != "" {
		return why
	}
	if e.NotAfter > t.Deadline {
		return "R2: a hold outlives its task"
	}
	most := maxHolds
	if t.Budget.Holds > 0 {
		most = t.Budget.Holds
	}
	if t.holds++; t.holds > most {
		return "R6: a task has more holds than it may"
	}
	if old := j.access[e.Replaces]; e.Carried {
		if old == nil || old.Change != e.Change || old.Task != e.Task || e.Zone == remit.ZoneProduction {
			return "R6: votes are carried to something else"
		}
		a.votes, a.votedAt = slices.Clone(old.votes), slices.Clone(old.votedAt)
	}
	return ""
}

func (j *Judge) voted(at int64, e *remit.VoteCast) string {
	a := j.access[e.Access]
	switch {
	case j.keys[e.Person] == nil:
		return "R3: a vote by somebody who is no person"
	case a.status != remit.AccessOpen || j.dead[e.Person] || at >= a.NotAfter:
		return "R6: a vote on what is not open, or by somebody who left"
	case j.asked(a, at) != "":
		return "R2: a vote although " + j.asked(a, at)
	case !j.member(e.Person, a):
		return "R3: a vote by somebody who was not asked"
	case (slices.Contains(a.Closure, e.Person) || j.causes(a, e.Person)) && e.Assurance != remit.AssuranceSelf && e.Approve:
		return "R3: somebody in the closure approves"
	case e.Assurance == remit.AssuranceSelf && (j.profile != remit.Solo || a.Zone == remit.ZoneProduction || a.Zone == remit.ZoneControl):
		return "R6: an assurance self where there is none"
	case e.Assurance == remit.AssuranceNone && j.profile != remit.Demo:
		return "R6: an assurance none where there is none"
	case a.Task != "" && e.Person == j.tasks[a.Task].Requester && e.Assurance != remit.AssuranceSelf:
		return "R3: the requester votes"
	case e.Signed.Check() != nil:
		return "R10: what a provider said stands in a leaf"
	case e.Approve && !slices.ContainsFunc(a.Needs, func(n remit.Need) bool { return j.in(n.Group, e.Person, j.at, a.entry) && satisfied(n, e.Signed) }):
		return "R6: a vote by somebody who was not signed in as is asked"
	case !slices.ContainsFunc(j.keys[e.Person], func(k remit.Key) bool {
		return remit.Hash(k.Public) == e.Key && int(k.Since) < a.entry && (k.Confirmed || k.Usable != 0 && at >= k.Usable)
	}):
		return "R3: a vote by a key that was not in force before the request"
	}
	a.votes, a.votedAt = append(a.votes, *e), append(a.votedAt, at)
	return ""
}

// follows is what may become of an access request.
var follows = map[remit.AccessStatus][]remit.AccessStatus{
	remit.AccessOpen:     {remit.AccessMet, remit.AccessVoid},
	remit.AccessMet:      {remit.AccessMet, remit.AccessOpen, remit.AccessReserved, remit.AccessUsed, remit.AccessVoid},
	remit.AccessReserved: {remit.AccessMet, remit.AccessOpen, remit.AccessUsed, remit.AccessVoid},
}

func (j *Judge) move(a *access, to remit.AccessStatus) string {
	if !slices.Contains(follows[a.status], to) {
		return fmt.Sprintf("R6: an access request that was %s becomes %s", a.status, to)
	}
	a.status = to
	if t := j.tasks[a.Task]; t != nil && (to == remit.AccessUsed || to == remit.AccessVoid) {
		t.holds--
	}
	return ""
}

func (j *Judge) moved(at int64, e *remit.AccessMoved) string {
	a := j.access[e.Access]
	was := a.status
	if why := j.move(a, e.To); why != "" {
		return why
	}
	if e.To == remit.AccessVoid && e.Why == "" {
		return "R6: an access request is void, and nobody says why"
	}
	if e.To == remit.AccessUsed && was == remit.AccessMet && a.Task != "" {
		return "R6: an approval is used that no attempt used"
	}
	if e.Needs != nil {
		a.Needs = e.Needs
	}
	if e.To == remit.AccessMet && !j.met(a, at, a.Needs) {
		return "R6: a quorum is met that is not"
	}
	return ""
}

func (j *Judge) member(p remit.ID, a *access) bool {
	return slices.ContainsFunc(a.Needs, func(n remit.Need) bool { return j.in(n.Group, p, j.at, a.entry) })
}

// met tries every way to seat those who may sit.
func (j *Judge) met(a *access, at int64, needs []remit.Need) bool {
	sit, signed := []remit.ID{}, map[remit.ID][]remit.SignedIn{}
	for i, v := range a.votes {
		if !v.Approve {
			return false // one refusal is enough
		}
		own := slices.Contains(a.Closure, v.Person) || j.causes(a, v.Person)
		self := v.Assurance == remit.AssuranceSelf && at >= a.votedAt[i]+5*60e9
		hard := v.Assurance == remit.AssuranceTouch || a.Zone != remit.ZoneProduction || j.profile == remit.Demo
		key := slices.ContainsFunc(j.keys[v.Person], func(k remit.Key) bool { return remit.Hash(k.Public) == v.Key })
		if !j.dead[v.Person] && key && hard && (!own || self) && (own || v.Assurance != remit.AssuranceSelf) {
			if !slices.Contains(sit, v.Person) {
				sit = append(sit, v.Person)
			}
			signed[v.Person] = append(signed[v.Person], v.Signed)
		}
	}
	var seats []remit.Need
	for _, n := range needs {
		for range n.N {
			seats = append(seats, n)
		}
	}
	var try func(seats []remit.Need, left []remit.ID) bool
	try = func(seats []remit.Need, left []remit.ID) bool {
		if len(seats) == 0 {
			return true
		}
		for i, p := range left {
			if j.in(seats[0].Group, p, at, a.entry) && slices.ContainsFunc(signed[p], func(s remit.SignedIn) bool { return satisfied(seats[0], s) }) && try(seats[1:], slices.Delete(slices.Clone(left), i, i+1)) {
				return true
			}
		}
		return false
	}
	return len(seats) > 0 && try(seats, sit)
}

// satisfied tells whether somebody showed of themselves what a seat asks: a class of those, and a proof that was young enough
// when they voted.
func satisfied(n remit.Need, s remit.SignedIn) bool {
	if len(n.StepUp.ACR) > 0 && !slices.Contains(n.StepUp.ACR, s.ACR) {
		return false
	}
	if n.StepUp.MaxAge == "" {
		return true
	}
	most, err := time.ParseDuration(n.StepUp.MaxAge)
	return err == nil && s.Age >= 1 && time.Duration(s.Age)*time.Second <= most
}
