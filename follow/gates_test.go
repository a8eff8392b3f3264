package follow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/follow"
)

// held adds a hold of agent, and its request.
func held(t *testing.T, l *log, n int, agent, ref string, protected ...remit.Pattern) remit.ID {
	id, task := remit.ID(fmt.Sprint("A-", n)), remit.ID(fmt.Sprint("T-", n))
	l.add(t, &remit.Decided{Verdict: remit.Hold, Access: id, Agent: agent, Task: task, Gateway: "git", Rules: []string{"protected"},
		Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:forge/shop"}, Ref: strings.ReplaceAll(ref, "TASK", string(task)), Protected: protected}}}, nil)
	l.add(t, &remit.AccessMoved{Access: "A-0", To: remit.AccessVoid, Why: remit.Superseded}, nil)
	l.add(t, &remit.AccessOpened{ID: id, Task: task, Needs: []remit.Need{{Group: "team", N: 1}}}, nil)
	return id
}

func TestAGateWhereNobodyLooksIsNamed(t *testing.T) {
	for _, c := range []struct {
		name          string
		after         time.Duration
		seen          bool
		votes, denied int
		rubber        bool
		median        string
	}{
		{"approved as soon as it is seen", 3 * time.Second, true, 20, 0, true, "3s"},
		{"within ten seconds", 10 * time.Second, true, 20, 0, true, "10s"},
		{"somebody looks", 11 * time.Second, true, 20, 0, false, "11s"},
		{"too few to tell", time.Second, true, 19, 0, false, "1s"},
		{"one in twenty is refused", time.Second, true, 19, 1, false, "1s"},
		{"one in twenty-five is refused", time.Second, true, 24, 1, true, "1s"},
		{"nobody had the card", time.Hour, false, 20, 0, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLog()
			for i := range c.votes + c.denied {
				id := held(t, l, i+1, "coder", "refs/heads/remit/TASK/x")
				if c.seen {
					l.add(t, &remit.AccessSeen{Access: id, Person: "p-rio"}, nil)
				}
				l.now = l.now.Add(c.after)
				l.add(t, &remit.AccessSeen{Access: id, Person: "p-noa"}, nil) // who looks, and does not vote
				approve := i < c.votes
				l.add(t, &remit.VoteCast{Access: id, Person: "p-rio", Approve: approve}, nil)
				if approve {
					l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessMet}, nil)
				} else {
					l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessVoid, Why: remit.Vetoed}, nil)
				}
			}
			got, err := follow.New(l, nil).Gates(t.Context())
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			g := got[0]
			if (g.Rubber != "") != c.rubber || g.Approved != c.votes || g.Denied != c.denied || g.Requests != c.votes+c.denied || g.Median != c.median {
				t.Fatalf("%+v", g)
			}
		})
	}
}

func TestWhatIsApprovedAgainAndAgain(t *testing.T) {
	l := newLog()
	approve := func(id remit.ID) {
		l.add(t, &remit.VoteCast{Access: id, Person: "p-rio", Approve: true}, nil)
		l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessMet}, nil)
		l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessReserved}, nil)
		l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessMet}, nil) // an attempt that was not applied
		l.add(t, &remit.AccessMoved{Access: id, To: remit.AccessUsed}, nil)
	}
	for n := 1; n <= 3; n++ {
		approve(held(t, l, n, "coder", fmt.Sprint("refs/heads/remit/TASK/branch-", n), "**/go.mod"))
	}
	approve(held(t, l, 4, "coder", "refs/heads/main", "**/go.mod"))
	approve(held(t, l, 5, "other", "refs/heads/remit/TASK/x", "**/go.mod"))
	l.add(t, &remit.AccessMoved{Access: held(t, l, 6, "coder", "refs/heads/remit/TASK/y", "**/go.mod"), To: remit.AccessVoid, Why: remit.Vetoed}, nil)
	l.add(t, &remit.AccessMoved{Access: held(t, l, 7, "coder", "refs/heads/remit/TASK/y", "**/go.mod"), To: remit.AccessVoid, Why: remit.Expired}, nil)
	l.add(t, &remit.AccessOpened{ID: "A-8", By: "p-ada"}, nil)
	got, err := follow.New(l, nil).Gates(t.Context())
	if err != nil || len(got) != 2 || got[1].Action != "control.apply" || len(got[0].Routine) != 3 {
		t.Fatalf("%+v %v", got, err)
	}
	r := got[0].Routine[0]
	if r.Agent != "coder" || r.Approved != 3 || r.Denied != 1 || !slices.Equal(r.Requests, []remit.ID{"A-1", "A-2", "A-3"}) ||
		!slices.Equal(r.Refs, []string{"refs/heads/remit/TASK/**"}) || !slices.Equal(r.Protected, []remit.Pattern{"**/go.mod"}) {
		t.Fatalf("%+v", r)
	}
}
