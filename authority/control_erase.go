package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// Limits of one erasure.
const (
	MaxErased      = 50_000 // payloads of one command
	ErasedPerEntry = 150    // of them in one entry, which has at most 8 KiB
)

// decideErase takes payloads away for good, where nothing rests on them any more (R10). Where there is a second
// administrator it holds for them: what is erased cannot be looked at by anybody later.
func decideErase(s *State, now int64, c *ErasePayloads) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	switch {
	case !s.IsAdmin(c.By):
		return fail(remit.Forbidden, "payloads are erased by administrators")
	case !slices.IsSorted(c.Entries) || !slices.IsSorted(c.Tasks):
		return fail(remit.BadRequest, "an erasure names its entries and tasks in order")
	case c.Reason.IsZero():
		return fail(remit.BadRequest, "an erasure needs a reason")
	case len(c.Payloads) == 0:
		return fail(remit.NotFound, "there is nothing left to erase")
	case len(c.Payloads) > MaxErased:
		return fail(remit.TooLargeToJudge, "%d payloads; at most %d are erased at once", len(c.Payloads), MaxErased)
	}
	gone := map[remit.Digest]bool{}
	for _, d := range c.Payloads {
		if at, erased := s.Erased[d]; erased || gone[d] || d == c.Reason {
			return fail(remit.Conflict, "payload %s stands twice, is the reason, or was erased by entry %d", d, at)
		}
		gone[d] = true
	}
	if why := s.restsOn(now, c, gone); why != "" {
		return fail(remit.Conflict, "%s; it is erased when that is over", why)
	}
	ask := control{by: c.By, shown: c.Reason, code: remit.ImpactHeld, why: "what is erased cannot be looked at by anybody later",
		stale: "what would be erased is not what was approved"}
	asked := *c
	asked.Access = ""
	ask.effect = digestJSON("erase", struct {
		Origin string
		Erase  ErasePayloads
	}{s.Origin, asked})
	switch {
	case c.Access != "":
		if _, events, res, err := s.claimControl(now, ask, c.Access); events != nil || err != nil {
			return events, res, err
		}
	case s.otherAdmins(c.By) > 0:
		return s.holdControl(now, ask, Result{})
	}
	var events []remit.Event
	for part := range slices.Chunk(c.Payloads, ErasedPerEntry) {
		events = append(events, &remit.PayloadsErased{By: c.By, Payloads: slices.Clone(part), Reason: c.Reason, Access: c.Access})
	}
	return events, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
}

// restsOn names what still rests on a payload, or on an entry of which the command would go.
func (s *State) restsOn(now int64, c *ErasePayloads, gone map[remit.Digest]bool) string {
	at := func(entries ...remit.EntryIndex) bool {
		return slices.ContainsFunc(entries, func(e remit.EntryIndex) bool {
			_, there := slices.BinarySearch(c.Entries, e)
			return there
		})
	}
	of := func(task remit.ID) bool {
		_, there := slices.BinarySearch(c.Tasks, task)
		return there
	}
	for _, id := range sorted(s.LiveTasks) {
		if t := s.Tasks[id]; of(id) || gone[t.Intent] || at(t.Entry) {
			return fmt.Sprintf("task %s is %s, and rests on it", id, t.Status)
		}
	}
	for _, id := range sorted(s.OpenHolds) {
		a := s.Accesses[id]
		votes := slices.ContainsFunc(a.Votes, func(v Vote) bool { return at(v.Entry) })
		if gone[a.Shown] || votes || at(a.Decision, a.Entry) || of(a.Task) {
			return fmt.Sprintf("access request %s is %s, and rests on it", id, a.Status)
		}
	}
	for _, id := range sorted(s.Permits) {
		if p := s.Permits[id]; now < p.NotAfter && at(p.Decision) {
			return fmt.Sprintf("permit %s can still be redeemed", id)
		}
	}
	for _, id := range sorted(s.Attempts) {
		if x := s.Attempts[id]; at(x.Decision) || of(x.Task) {
			return fmt.Sprintf("attempt %s has no outcome yet", id)
		}
	}
	for _, id := range sorted(s.Leases) {
		if l := s.Leases[id]; at(l.Entry) || of(l.Task) {
			return fmt.Sprintf("lease %s of task %s has not ended", id, l.Task)
		}
	}
	for _, id := range sorted(s.People) {
		if p := s.People[id]; !p.Removed && (gone[p.Name] || c.What == "person" && c.ID == id) {
			return fmt.Sprintf("person %s is declared", id)
		}
	}
	for _, id := range sorted(s.People) {
		if p := s.People[id]; !p.Removed && slices.ContainsFunc(p.Identities, func(x remit.Digest) bool { return gone[x] }) {
			return fmt.Sprintf("an identity of person %s is declared", id)
		}
	}
	for _, name := range sorted(s.Agents) {
		if a := s.Agents[name]; a.Status != remit.AgentRetired && gone[a.Text] {
			return fmt.Sprintf("agent %s is declared", name)
		}
	}
	for _, name := range sorted(s.Upstreams) {
		if gone[s.Upstreams[name].Spec] {
			return fmt.Sprintf("upstream %s is declared", name)
		}
	}
	for _, name := range sorted(s.Environments) {
		if gone[s.Environments[name].Spec] {
			return fmt.Sprintf("environment %s is declared", name)
		}
	}
	for _, name := range sorted(s.Secrets) {
		if gone[s.Secrets[name].Spec] {
			return fmt.Sprintf("secret %s is declared", name)
		}
	}
	if gone[s.Notify] {
		return "who is told of what is declared"
	}
	if at(0) {
		return "entry 0 is the genesis"
	}
	for _, said := range s.Erasures {
		if at(said) {
			return fmt.Sprintf("entry %d says what was erased", said)
		}
	}
	return ""
}
