package evidence_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
)

const repo = remit.Resource("repo:forge/payments")

var begin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// book is a log in the making: events, a second apart.
type book struct {
	leaves []ledger.Leaf
}

func (b *book) add(e remit.Event) remit.EntryIndex {
	i := remit.EntryIndex(len(b.leaves))
	b.leaves = append(b.leaves, ledger.Leaf{At: begin.Add(time.Duration(i) * time.Second), Event: e})
	return i
}

func oid(n byte) []byte { return bytes.Repeat([]byte{n}, 20) }

func hexOf(n byte) string { return fmt.Sprintf("%x", oid(n)) }

// change is what is tried of one change of main: the summary is of the commit that it makes.
type change struct {
	merge    bool
	push     string // ref of a push; refs/heads/main
	op       remit.RefOp
	old, new byte
	votes    map[remit.ID]remit.Assurance // of people
	refuse   remit.ID
	closure  []remit.ID
	part     []remit.ID // of what was decided
	glass    bool
	outcome  remit.Outcome
	pushers  []remit.EntryIndex
}

func (b *book) change(c change) {
	f := remit.StepFacts{Step: remit.Step{Action: "source.push", Resource: repo}, Ref: c.push, Op: c.op, Old: oid(c.old), New: oid(c.new), Pushers: c.pushers}
	if f.Ref == "" {
		f.Ref = "refs/heads/main"
	}
	if f.Op == "" {
		f.Op = remit.RefUpdate
	}
	made := ""
	if c.merge {
		f.Step.Action, made = "source.merge", hexOf(c.new)
		f.New = oid(c.new + 100) // the head that is merged; what comes of it is another commit
	}
	d := &remit.Decided{Verdict: remit.Allow, Gateway: "git", Agent: "coder", Task: "T-9", Steps: []remit.StepFacts{f}, Policy: remit.Hash([]byte("policy")), Closure: c.part}
	if c.votes != nil {
		q := b.add(&remit.AccessOpened{ID: "A-0", Task: "T-9", Closure: c.closure})
		b.leaves[q].Event.(*remit.AccessOpened).ID = remit.ID(fmt.Sprintf("A-%d", q))
		d.Access = remit.ID(fmt.Sprintf("A-%d", q))
		for _, id := range slices.Sorted(func(yield func(remit.ID) bool) {
			for id := range c.votes {
				if !yield(id) {
					return
				}
			}
		}) {
			b.add(&remit.VoteCast{Access: d.Access, Person: id, Approve: id != c.refuse, Assurance: c.votes[id]})
		}
	}
	if c.glass {
		d.Glass = "G-1"
	}
	i := b.add(d)
	d.Permit = remit.ID(fmt.Sprintf("P-%d", i))
	x := b.add(&remit.Redeemed{Permit: d.Permit})
	b.leaves[x].Event.(*remit.Redeemed).ID = remit.ID(fmt.Sprintf("X-%d", x))
	if c.outcome == "" {
		c.outcome = remit.Done
	}
	b.add(&remit.Recorded{Attempt: remit.ID(fmt.Sprintf("X-%d", x)), Outcome: c.outcome, Made: made})
}

func house(profile remit.Profile, reviews int) *book {
	b := &book{}
	b.add(&remit.Genesis{Org: "acme", Origin: "remit.example/acme", Profile: profile, Admins: []remit.ID{"p-1"}})
	b.add(&remit.RulesActivated{Version: 2})
	b.add(&remit.RepositoryDeclared{Name: "forge/payments", DefaultBranch: "main", Reviews: reviews})
	return b
}

func (b *book) record(t *testing.T, n byte) (remit.SourceView, error) {
	t.Helper()
	h := evidence.NewHistory(repo)
	for i, l := range b.leaves {
		h.Entry(remit.EntryIndex(i), l)
	}
	return h.Record(hexOf(n), "")
}

// TestSourceLevels: a level is what the log justifies. An agent is no person, whatever it reviewed; two people are two
// different ones who approved exactly this and have no part in it.
func TestSourceLevels(t *testing.T) {
	soft, touch := remit.AssuranceSoftware, remit.AssuranceTouch
	two := map[remit.ID]remit.Assurance{"p-1": soft, "p-2": touch}
	for name, x := range map[string]struct {
		profile remit.Profile
		reviews int
		before  []change
		last    change
		want    string
		has     []string
		hasnt   []string
	}{
		"a push to a branch of its own": {last: change{push: "refs/heads/remit/T-9/x", old: 0, new: 1}, want: evidence.SourceLevel2, has: []string{evidence.SourceAgentAuthored}, hasnt: []string{evidence.SourceHumanApproved, evidence.SourceAgentReviewed}},
		"a merge that two agents had to review is no two persons": {reviews: 2, last: change{merge: true, old: 1, new: 2, pushers: []remit.EntryIndex{1}}, want: evidence.SourceLevel3,
			has: []string{evidence.SourceAgentAuthored, evidence.SourceAgentReviewed}, hasnt: []string{evidence.SourceHumanApproved, evidence.SourceTwoHumansApproved}},
		"with one person": {reviews: 2, last: change{merge: true, old: 1, new: 2, pushers: []remit.EntryIndex{1}, votes: map[remit.ID]remit.Assurance{"p-1": touch}}, want: evidence.SourceLevel3,
			has: []string{evidence.SourceHumanApproved}, hasnt: []string{evidence.SourceTwoHumansApproved}},
		"with two people":                               {last: change{merge: true, old: 1, new: 2, pushers: []remit.EntryIndex{1}, votes: two}, want: evidence.SourceLevel4, has: []string{evidence.SourceTwoHumansApproved, evidence.SourceAgentAuthored}},
		"one of the two has a part in it":               {last: change{merge: true, old: 1, new: 2, votes: two, closure: []remit.ID{"p-2"}}, want: evidence.SourceLevel3, hasnt: []string{evidence.SourceTwoHumansApproved}},
		"one of the two came to have a part in it":      {last: change{merge: true, old: 1, new: 2, votes: two, part: []remit.ID{"p-2"}}, want: evidence.SourceLevel3, hasnt: []string{evidence.SourceTwoHumansApproved}},
		"one of the two refused":                        {last: change{merge: true, old: 1, new: 2, votes: two, refuse: "p-1"}, want: evidence.SourceLevel3, hasnt: []string{evidence.SourceTwoHumansApproved}},
		"one of the two is nobody in particular":        {last: change{merge: true, old: 1, new: 2, votes: map[remit.ID]remit.Assurance{"p-1": touch, "p-2": remit.AssuranceNone}}, want: evidence.SourceLevel3},
		"one of the two is the requester after a delay": {last: change{merge: true, old: 1, new: 2, votes: map[remit.ID]remit.Assurance{"p-1": touch, "p-2": remit.AssuranceSelf}}, want: evidence.SourceLevel3},
		"the profile demo":                              {profile: remit.Demo, last: change{merge: true, old: 1, new: 2, votes: two}, want: evidence.SourceLevel3, hasnt: []string{evidence.SourceHumanApproved, evidence.SourceTwoHumansApproved}},
		"commits that came otherwise":                   {reviews: 1, last: change{merge: true, old: 1, new: 2}, want: evidence.SourceLevel3, has: []string{evidence.SourceBroughtOutside}, hasnt: []string{evidence.SourceAgentAuthored}},
		"a merge without verdicts or votes":             {last: change{merge: true, old: 1, new: 2}, want: evidence.SourceLevel2},
		"under break-glass":                             {reviews: 1, last: change{merge: true, old: 1, new: 2, glass: true}, want: evidence.SourceLevel2},
		"a rewritten history":                           {last: change{op: remit.RefForce, old: 1, new: 2, votes: two}, want: evidence.SourceLevel1},
		"a ref that moved around Remit":                 {reviews: 1, before: []change{{merge: true, old: 1, new: 2}}, last: change{merge: true, old: 7, new: 3, votes: two}, want: evidence.SourceLevel1},
		"after a gap, history begins anew":              {reviews: 1, before: []change{{merge: true, old: 1, new: 2}, {merge: true, old: 7, new: 3}}, last: change{merge: true, old: 3, new: 4}, want: evidence.SourceLevel3},
		"an earlier change met no control":              {before: []change{{merge: true, old: 1, new: 2}}, last: change{merge: true, old: 2, new: 3, votes: two}, want: evidence.SourceLevel2},
		"an earlier change nobody can tell of":          {reviews: 1, before: []change{{merge: true, old: 1, new: 2}, {merge: true, old: 2, new: 3, outcome: remit.Ambiguous}}, last: change{merge: true, old: 3, new: 4, votes: two}, want: evidence.SourceLevel4},
		"an earlier change that was not made":           {reviews: 1, before: []change{{merge: true, old: 1, new: 2}, {merge: true, old: 2, new: 3, outcome: remit.NotApplied}}, last: change{merge: true, old: 2, new: 4, votes: two}, want: evidence.SourceLevel4},
	} {
		t.Run(name, func(t *testing.T) {
			profile := x.profile
			if profile == "" {
				profile = remit.Team
			}
			b := house(profile, x.reviews)
			for _, c := range x.before {
				b.change(c)
			}
			b.change(x.last)
			r, err := b.record(t, x.last.new)
			if err != nil {
				t.Fatal(err)
			}
			if r.Levels[0] != x.want {
				t.Errorf("it is %v (%v), not %s", r.Levels, r.Why, x.want)
			}
			if r.Levels[0] != evidence.SourceLevel4 && len(r.Why) == 0 {
				t.Error("it does not say why no more")
			}
			for _, p := range x.has {
				if !slices.Contains(r.Levels, p) {
					t.Errorf("it lacks %s: %v", p, r.Levels)
				}
			}
			for _, p := range x.hasnt {
				if slices.Contains(r.Levels, p) {
					t.Errorf("it has %s: %v", p, r.Levels)
				}
			}
			if !slices.IsSorted(r.Entries) || !slices.Contains(r.Entries, r.Decision) || !slices.Contains(r.Entries, r.Outcome) {
				t.Errorf("it rests on %v", r.Entries)
			}
		})
	}
}

// TestNoSourceRecord: of what Remit did not let through, nothing is said.
func TestNoSourceRecord(t *testing.T) {
	b := house(remit.Team, 0)
	b.change(change{old: 1, new: 2, outcome: remit.NotApplied})
	b.change(change{old: 1, new: 3, outcome: remit.Ambiguous})
	b.change(change{op: remit.RefDelete, old: 1, new: 0})
	for _, n := range []byte{0, 1, 2, 3, 9} {
		if r, err := b.record(t, n); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
			t.Errorf("%d: %+v, %v", n, r, err)
		}
	}
}

// TestNoAgentIsAPerson: over random histories, level 4 is said only where two different people voted for it in the log, and
// every level above 1 only where the ref stood where the last record of it left it.
func TestNoAgentIsAPerson(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := house(remit.Team, r.IntN(3))
		stands, people := byte(1), map[byte]int{}
		for n := byte(2); n < 20; n++ {
			c := change{merge: r.IntN(2) == 0, old: stands, new: n, glass: r.IntN(8) == 0}
			if r.IntN(6) == 0 {
				c.old = 99
			}
			if r.IntN(2) == 0 {
				c.votes = map[remit.ID]remit.Assurance{}
				for p := range r.IntN(4) {
					a := []remit.Assurance{remit.AssuranceNone, remit.AssuranceSoftware, remit.AssuranceTouch, remit.AssuranceSelf}[r.IntN(4)]
					c.votes[remit.ID(fmt.Sprintf("p-%d", p))] = a
					if a == remit.AssuranceSoftware || a == remit.AssuranceTouch {
						people[n]++
					}
				}
			}
			b.change(c)
			got, err := b.record(t, n)
			if err != nil {
				t.Fatal(err)
			}
			if got.Levels[0] == evidence.SourceLevel4 && people[n] < 2 {
				t.Fatalf("seed %d, change %d: level 4 with %d people", seed, n, people[n])
			}
			if len(got.Persons) != people[n] {
				t.Fatalf("seed %d, change %d: %v, and %d people approved", seed, n, got.Persons, people[n])
			}
			if n > 2 && c.old != stands && got.Levels[0] != evidence.SourceLevel1 {
				t.Fatalf("seed %d, change %d: %s, and the ref had moved", seed, n, got.Levels[0])
			}
			stands = n
		}
	}
}
