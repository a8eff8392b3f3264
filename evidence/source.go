package evidence

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Levels of the SLSA Source track, as verification summaries have them (SLSA 1.2, source-requirements).
const (
	SourceLevel1 = "SLSA_SOURCE_LEVEL_1"
	SourceLevel2 = "SLSA_SOURCE_LEVEL_2"
	SourceLevel3 = "SLSA_SOURCE_LEVEL_3"
	SourceLevel4 = "SLSA_SOURCE_LEVEL_4"
)

// Properties that are ours; their prefix is the one that SLSA leaves to organisations.
const (
	SourceAgentAuthored     = "ORG_SOURCE_AGENT_AUTHORED"  // an agent pushed the change, or some of it
	SourceBroughtOutside    = "ORG_SOURCE_BROUGHT_OUTSIDE" // no push through Remit brought the merged commits
	SourceAgentReviewed     = "ORG_SOURCE_AGENT_REVIEWED"  // agents had to approve of exactly this change; they are no persons
	SourceHumanApproved     = "ORG_SOURCE_AGENT_HUMAN_APPROVED"
	SourceTwoHumansApproved = "ORG_SOURCE_AGENT_TWO_HUMANS_APPROVED"
)

// History reads a log for the changes of one repository. It has no clock.
type History struct {
	repo    remit.Resource
	profile remit.Profile
	rules   int
	now     at[remit.RepositoryDeclared]
	allowed map[remit.ID][]*change // by permit: a push of several refs is several
	sent    map[remit.ID][]*change // by attempt
	asked   map[remit.ID]*request
	refs    map[string]*line
	records []remit.SourceView
}

// change is an allowed change of one ref.
type change struct {
	entry    remit.EntryIndex
	redeemed remit.EntryIndex
	event    *remit.Decided
	facts    remit.StepFacts
	repo     at[remit.RepositoryDeclared] // as it was declared then
	rules    int
	merge    bool
}

// request is what people voted on.
type request struct {
	entry   remit.EntryIndex
	closure []remit.ID
	votes   map[remit.ID]ballot // the last of each person
}

type ballot struct {
	entry     remit.EntryIndex
	approve   bool
	assurance remit.Assurance
}

// line is the history of a ref, as far as it is unbroken.
type line struct {
	value   string // hex; empty: it does not exist
	since   remit.EntryIndex
	guarded bool // every change since then met the technical controls
}

// NewHistory reads for a repository, repo:UPSTREAM/PATH.
func NewHistory(repo remit.Resource) *History {
	return &History{repo: repo, allowed: map[remit.ID][]*change{}, sent: map[remit.ID][]*change{}, asked: map[remit.ID]*request{}, refs: map[string]*line{}}
}

// Entry takes the next entry of the log, from the first one on.
func (s *History) Entry(i remit.EntryIndex, l ledger.Leaf) {
	switch e := l.Event.(type) {
	case *remit.Genesis:
		s.profile = e.Profile
	case *remit.RulesActivated:
		s.rules = e.Version
	case *remit.RepositoryDeclared:
		if "repo:"+e.Name == string(s.repo) {
			s.now = at[remit.RepositoryDeclared]{i, *e, true}
		}
	case *remit.Removed:
		if e.What == "repository" && "repo:"+e.Name == string(s.repo) {
			s.now = at[remit.RepositoryDeclared]{}
		}
	case *remit.Decided:
		s.decided(i, e)
	case *remit.AccessOpened:
		s.asked[e.ID] = &request{entry: i, closure: e.Closure, votes: map[remit.ID]ballot{}}
	case *remit.VoteCast:
		if q := s.asked[e.Access]; q != nil {
			q.votes[e.Person] = ballot{i, e.Approve, e.Assurance}
		}
	case *remit.Redeemed:
		if sent := s.allowed[e.Permit]; sent != nil {
			for _, c := range sent {
				c.redeemed = i
			}
			s.sent[e.ID] = sent
			delete(s.allowed, e.Permit)
		}
	case *remit.Recorded:
		for _, c := range s.sent[e.Attempt] {
			s.recorded(i, l.At, c, e)
		}
		delete(s.sent, e.Attempt)
	}
}

func (s *History) decided(i remit.EntryIndex, e *remit.Decided) {
	if e.Verdict != remit.Allow || e.Permit == "" || e.Advice {
		return
	}
	for _, f := range e.Steps {
		if !f.Step.Effect && f.Ref != "" && f.Step.Resource == s.repo && (f.Step.Action == "source.push" || f.Step.Action == "source.merge") {
			s.allowed[e.Permit] = append(s.allowed[e.Permit], &change{entry: i, event: e, facts: f, repo: s.now, rules: s.rules, merge: f.Step.Action == "source.merge"})
		}
	}
}

func (s *History) line(ref string) *line {
	l := s.refs[ref]
	if l == nil {
		l = &line{}
		s.refs[ref] = l
	}
	return l
}

// recorded takes a change that was carried out into the history of its ref, and says what it justifies.
func (s *History) recorded(i remit.EntryIndex, t time.Time, c *change, e *remit.Recorded) {
	l := s.line(c.facts.Ref)
	switch {
	case e.Outcome == remit.NotApplied:
		return
	case e.Outcome != remit.Done:
		*l = line{} // nobody can tell where the ref stands: its history begins anew
		return
	}
	to, old := hex.EncodeToString(c.facts.New), hex.EncodeToString(c.facts.Old)
	if c.merge && e.Made != "" {
		to = e.Made
	}
	rewritten := c.facts.Op == remit.RefForce || c.facts.Op == remit.RefDelete
	moved := l.since != 0 && l.value != old
	broken := moved || rewritten
	r := remit.SourceView{Repository: s.repo, Ref: c.facts.Ref, Commit: to, Decision: c.entry, Outcome: i, At: t.UTC(), Agent: c.event.Agent, Task: c.event.Task,
		Policy: c.event.Policy, Rules: c.rules, Persons: []remit.ID{}, Why: []string{}, Entries: []remit.EntryIndex{c.entry, c.redeemed, i}}
	guard, why := s.guarded(c)
	if l.since == 0 || broken {
		*l = line{since: c.entry, guarded: true}
	}
	l.value, l.guarded = to, l.guarded && guard
	r.Since, r.Entries = l.since, append(r.Entries, l.since)
	if c.facts.Op == remit.RefDelete {
		*l = line{}
		return // there is no revision that it could be about
	}
	if c.repo.there {
		r.Entries = append(r.Entries, c.repo.entry)
	}
	persons, entries := s.persons(c)
	r.Persons, r.Entries = append(r.Persons, persons...), append(r.Entries, entries...)
	s.level(&r, c, l, moved, rewritten, why)
	slices.Sort(r.Entries)
	r.Entries = slices.Compact(r.Entries)
	s.records = append(s.records, r)
}

// guarded tells whether a change met the technical controls of the default branch: it is a merge for which verdicts of
// agents were asked, or people approved exactly this change.
func (s *History) guarded(c *change) (ok bool, why string) {
	switch {
	case !c.repo.there || c.facts.Ref != "refs/heads/"+c.repo.said.DefaultBranch:
		return false, "only the default branch is a ref that is protected by what is declared of the repository"
	case c.event.Glass != "":
		return false, "it passed under break-glass"
	case c.event.Access != "", c.merge && c.repo.said.Reviews > 0:
		return true, ""
	}
	return false, "it was neither a merge that needs verdicts nor approved by people"
}

// persons are who approved exactly what was done, and count: different people, who have no part in it, by a key that is
// theirs alone. Votes on an earlier request that were carried over are not on this revision, and an agent has no vote.
func (s *History) persons(c *change) (out []remit.ID, entries []remit.EntryIndex) {
	q := s.asked[c.event.Access]
	if q == nil || s.profile == remit.Demo {
		return nil, nil
	}
	entries = append(entries, q.entry)
	for id, b := range q.votes {
		if b.approve && (b.assurance == remit.AssuranceTouch || b.assurance == remit.AssuranceSoftware) && !slices.Contains(q.closure, id) && !slices.Contains(c.event.Closure, id) && b.entry < c.entry {
			out, entries = append(out, id), append(entries, b.entry)
		}
	}
	slices.Sort(out)
	return out, entries
}

// level says what a record justifies, and why no more.
func (s *History) level(r *remit.SourceView, c *change, l *line, moved, rewritten bool, why string) {
	no := func(format string, args ...any) { r.Why = append(r.Why, fmt.Sprintf(format, args...)) }
	level := SourceLevel1
	switch {
	case moved:
		no("not level 2: the ref did not stand where Remit had put it; somebody moved it around Remit")
	case rewritten:
		no("not level 2: the change rewrote the history of the ref")
	case !l.guarded:
		level = SourceLevel2
		if why == "" {
			why = "an earlier change of the ref, since entry " + fmt.Sprint(l.since) + ", did not meet the controls"
		}
		no("not level 3: %s", why)
	case len(r.Persons) < 2:
		level = SourceLevel3
		no("not level 4: %s approved exactly this change, and an agent wrote it: two would have to", some(len(r.Persons), "person", "people"))
	default:
		level = SourceLevel4
	}
	r.Levels = []string{level}
	if c.merge && len(c.facts.Pushers) == 0 {
		r.Levels = append(r.Levels, SourceBroughtOutside)
	} else {
		r.Levels = append(r.Levels, SourceAgentAuthored)
	}
	if c.merge && c.repo.said.Reviews > 0 {
		r.Levels = append(r.Levels, SourceAgentReviewed)
	}
	if len(r.Persons) > 0 {
		r.Levels = append(r.Levels, SourceHumanApproved)
	}
	if len(r.Persons) > 1 {
		r.Levels = append(r.Levels, SourceTwoHumansApproved)
	}
	if s.profile == remit.Demo {
		no("votes of the profile demo count for nobody")
	}
}

// Record is the newest record of a commit, on a ref, or, where none is named, on the one ref that it came to or the default
// branch. NOT_FOUND for a commit that Remit let through to no ref: nothing is known of that.
func (s *History) Record(commit, ref string) (remit.SourceView, error) {
	var found []remit.SourceView
	for _, r := range s.records {
		if r.Commit == commit && (ref == "" || r.Ref == ref) {
			found = slices.DeleteFunc(found, func(o remit.SourceView) bool { return o.Ref == r.Ref })
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return remit.SourceView{}, remit.Errorf(remit.NotFound, "Remit let no push or merge through that put %s at %s on commit %.64s; of what came otherwise nothing is known, and nothing is said", cmp.Or(ref, "a ref"), s.repo, commit)
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var names []string
	for _, r := range found {
		if r.Ref == "refs/heads/"+s.now.said.DefaultBranch {
			return r, nil
		}
		names = append(names, r.Ref)
	}
	slices.Sort(names)
	return remit.SourceView{}, remit.Errorf(remit.BadRequest, "the commit came to several refs; name one of %v", names)
}
