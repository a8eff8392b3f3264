package follow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/ledger"
)

// log is a log in memory.
type log struct {
	leaves   [][]byte
	commands map[remit.Digest]authority.Command
	texts    map[remit.Digest][]byte
	reads    int
	fail     error
	changed  chan struct{}
	now      time.Time
}

func newLog() *log {
	return &log{commands: map[remit.Digest]authority.Command{}, texts: map[remit.Digest][]byte{}, changed: make(chan struct{}), now: time.Unix(1_800_000_000, 0)}
}

// add appends an entry, the first of a command where there is one.
func (l *log) add(t testing.TB, e remit.Event, c authority.Command) remit.EntryIndex {
	t.Helper()
	leaf := ledger.Leaf{At: l.now, Event: e}
	if c != nil {
		leaf.Command = remit.Hash(fmt.Append(nil, len(l.leaves)))
		l.commands[leaf.Command] = c
	}
	b, err := ledger.Encode(leaf)
	if err != nil {
		t.Fatal(err)
	}
	l.leaves = append(l.leaves, b)
	close(l.changed)
	l.changed = make(chan struct{})
	return remit.EntryIndex(len(l.leaves) - 1)
}

func (l *log) Read(_ context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		l.reads++
		if l.fail != nil {
			yield(ledger.Entry{}, l.fail)
			return
		}
		for i := int(from); i < len(l.leaves); i++ {
			if !yield(ledger.Entry{Index: remit.EntryIndex(i), Leaf: l.leaves[i]}, nil) {
				return
			}
		}
	}
}

func (l *log) Changed() <-chan struct{} { return l.changed }

func (l *log) Command(_ context.Context, d remit.Digest) (authority.Command, error) {
	c := l.commands[d]
	if c == nil {
		return nil, ledger.ErrErased
	}
	return c, nil
}

func (l *log) Text(_ context.Context, d remit.Digest) ([]byte, bool) {
	b, ok := l.texts[d]
	return b, ok
}

const repo remit.Resource = "repo:forge/payments"

func oid(b string) string { return strings.Repeat(b, 20) }

// underway is a push that was redeemed, and of which the outcome is not known yet.
const underway remit.Outcome = "underway"

// push is an allowed push that brings commits, with what came of it.
func (l *log) push(t testing.TB, on remit.Resource, outcome remit.Outcome, commits ...string) remit.EntryIndex {
	t.Helper()
	next := remit.EntryIndex(len(l.leaves))
	permit, attempt := remit.ID(fmt.Sprintf("P-%d", next)), remit.ID(fmt.Sprintf("X-%d", next+1))
	step := remit.Step{Action: "source.push", Resource: on}
	i := l.add(t, &remit.Decided{Verdict: remit.Allow, Gateway: "gateway/git", Task: "T-1", Agent: "coder", Permit: permit,
		Steps: []remit.StepFacts{{Step: step, Ref: "refs/heads/remit/T-1/fix"}}, NotAfter: l.now.Add(time.Minute).UnixNano()},
		&authority.Authorize{Request: remit.Request{Steps: []remit.Step{step}, Refs: []remit.RefChange{{Ref: "refs/heads/remit/T-1/fix", Brought: commits}}}})
	if outcome == "" {
		return i
	}
	l.add(t, &remit.Redeemed{ID: attempt, Permit: permit}, &authority.Redeem{})
	if outcome == underway {
		return i
	}
	l.add(t, &remit.Recorded{Attempt: attempt, Outcome: outcome}, &authority.Record{})
	return i
}

func pushedBy(t *testing.T, f *follow.Follower, on remit.Resource, commits ...string) ([]remit.EntryIndex, int) {
	t.Helper()
	entries, outside, err := f.PushedBy(t.Context(), on, commits)
	if err != nil {
		t.Fatal(err)
	}
	return entries, outside
}

func TestACommitIsOfEveryPushThatMayHaveBroughtIt(t *testing.T) {
	l := newLog()
	f := follow.New(l, nil)
	first := l.push(t, repo, remit.Done, oid("01"), oid("02"))
	if e, out := pushedBy(t, f, repo, oid("01"), oid("02")); !slices.Equal(e, []remit.EntryIndex{first}) || out != 0 {
		t.Fatalf("%v %d", e, out)
	}
	if e, out := pushedBy(t, f, "repo:forge/other", oid("01")); len(e) != 0 || out != 1 {
		t.Fatalf("in another repository: %v %d", e, out)
	}
	failed := l.push(t, repo, remit.NotApplied, oid("03"))
	l.push(t, repo, "", oid("03"))
	// An erased push keeps what it did bring, and only that.
	still, err := f.StillBrought(t.Context(), []remit.Brought{{Entry: first, Repo: repo, Commits: []string{oid("01"), oid("03"), "zz"}},
		{Entry: first, Repo: "repo:forge/other", Commits: []string{oid("01")}}, {Entry: failed, Repo: repo, Commits: []string{oid("03")}}})
	if err != nil || len(still) != 1 || still[0].Entry != first || still[0].Repo != repo || !slices.Equal(still[0].Commits, []string{oid("01")}) {
		t.Fatalf("%+v %v", still, err)
	}
	if e, out := pushedBy(t, f, repo, oid("03")); len(e) != 0 || out != 1 {
		t.Fatalf("nothing of it reached the upstream: %v %d", e, out)
	}
	unclear := l.push(t, repo, remit.Ambiguous, oid("03"), oid("01"))
	late := l.push(t, repo, remit.AfterRevocation, oid("03"))
	if e, out := pushedBy(t, f, repo, oid("03"), oid("01"), oid("99")); !slices.Equal(e, []remit.EntryIndex{first, unclear, late}) || out != 1 {
		t.Fatalf("%v %d", e, out)
	}
	if _, _, err := f.PushedBy(t.Context(), repo, []string{"zz"}); err == nil {
		t.Fatal("an id that is none")
	}
	again := follow.New(l, nil)
	if e, _ := pushedBy(t, again, repo, oid("03"), oid("01")); !slices.Equal(e, []remit.EntryIndex{first, unclear, late}) {
		t.Fatalf("built anew: %v", e)
	}
}

// An upstream shows a push before it has answered it: in between, somebody else could push its commits on.
func TestAPushCountsFromItsRedemption(t *testing.T) {
	l := newLog()
	f := follow.New(l, nil)
	first := l.push(t, repo, remit.Done, oid("01"))
	second := l.push(t, repo, underway, oid("01"), oid("02"))
	if e, out := pushedBy(t, f, repo, oid("01"), oid("02")); !slices.Equal(e, []remit.EntryIndex{first, second}) || out != 0 {
		t.Fatalf("under way: %v %d", e, out)
	}
	l.add(t, &remit.Recorded{Attempt: remit.ID(fmt.Sprintf("X-%d", second+1)), Outcome: remit.NotApplied}, &authority.Record{})
	if e, out := pushedBy(t, f, repo, oid("01"), oid("02")); !slices.Equal(e, []remit.EntryIndex{first}) || out != 1 {
		t.Fatalf("proven not to have arrived: %v %d", e, out)
	}
}

func TestAnErasedPushCountsAsOutside(t *testing.T) {
	l := newLog()
	i := l.push(t, repo, remit.Done, oid("01"))
	leaf, err := ledger.Decode(l.leaves[i])
	if err != nil {
		t.Fatal(err)
	}
	delete(l.commands, leaf.Command)
	if e, out := pushedBy(t, follow.New(l, nil), repo, oid("01")); len(e) != 0 || out != 1 {
		t.Fatalf("%v %d", e, out)
	}
}

func TestALogThatCannotBeReadGivesNoAnswerRatherThanAnOldOne(t *testing.T) {
	l := newLog()
	f := follow.New(l, nil)
	l.push(t, repo, remit.Done, oid("01"))
	pushedBy(t, f, repo, oid("01"))
	l.fail = errors.New("disk")
	if _, _, err := f.PushedBy(t.Context(), repo, []string{oid("01")}); err == nil {
		t.Fatal("it answered")
	}
	if _, err := f.Trace(t.Context(), "T-1", follow.Directory{}); err == nil {
		t.Fatal("it answered")
	}
	l.fail = nil
	if e, _ := pushedBy(t, f, repo, oid("01")); len(e) != 1 {
		t.Fatalf("%v", e)
	}
}

func TestATraceReadsItsEntriesOnlyAndInOrder(t *testing.T) {
	l := newLog()
	l.add(t, &remit.ClockConfirmed{By: "p-000000000000"}, &authority.ConfirmClock{})
	l.add(t, &remit.TaskCreated{ID: "T-1", Requester: "p-1", Agent: "coder", Deadline: l.now.UnixNano()}, &authority.CreateTask{})
	for range 3000 {
		l.add(t, &remit.ClockConfirmed{By: "p-000000000000"}, &authority.ConfirmClock{})
	}
	d := l.add(t, &remit.Decided{Verdict: remit.Hold, Code: remit.PathProtected, Gateway: "g", Task: "T-1", Agent: "coder",
		Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: repo}, Ref: "refs/heads/x"}}}, &authority.Authorize{})
	l.add(t, &remit.AccessOpened{ID: "A-1", Task: "T-1", Needs: []remit.Need{{Group: "administrators", N: 2}}}, nil)
	l.add(t, &remit.VoteCast{Access: "A-1", Person: "p-2", Approve: true, Assurance: remit.AssuranceTouch}, &authority.CastVote{})
	l.add(t, &remit.AccessMoved{Access: "A-1", To: remit.AccessMet}, nil)
	l.add(t, &remit.DenialRepeated{Entry: d, Count: 4}, &authority.CountDenials{})
	permit := remit.ID(fmt.Sprintf("P-%d", len(l.leaves)))
	l.add(t, &remit.Decided{Verdict: remit.Allow, Gateway: "g", Task: "T-1", Agent: "coder", Permit: permit, Steps: []remit.StepFacts{
		{Step: remit.Step{Action: "tool.read", Resource: "tool:github/get_issue"}}, {Step: remit.Step{Action: "issue.read", Resource: repo}}}}, &authority.Authorize{})
	l.add(t, &remit.Redeemed{ID: "X-1", Permit: permit, Taints: []string{"issue-text", "page"}}, &authority.Redeem{})
	l.add(t, &remit.TaskCreated{ID: "T-2", Parent: "T-1", Requester: "p-1", Agent: "helper", By: "I-1", Deadline: l.now.UnixNano(), Delegated: true}, &authority.CreateChild{})
	l.add(t, &remit.InstanceStarted{ID: "I-2", Task: "T-2", Agent: "helper", Launcher: "p-1", Confinement: remit.ConfineUID}, &authority.StartInstance{})
	l.add(t, &remit.TaskEnded{Task: "T-1", Status: remit.TaskKilled, By: "p-1"}, &authority.Kill{})
	f := follow.New(l, nil)
	if err := f.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.reads = 0
	steps, err := f.Trace(t.Context(), "T-1", follow.Directory{}.With(map[remit.ID]string{"p-1": "cleo", "p-2": "ben"}))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range steps {
		said = append(said, s.Actor+": "+s.Sentence)
	}
	want := []string{
		"cleo: asks agent coder for work until 2027-01-15 08:00 UTC",
		"coder: refs/heads/x, " + remit.PathProtected.Info().Meaning,
		"remit: asks people: A-1 needs 2 of administrators",
		"ben: votes approve on A-1, assurance: touch",
		"remit: A-1 is met",
		"remit: the denial of entry 3002 was repeated 4 times",
		"coder: issue.read on " + string(repo),
		"remit: begins attempt X-1; the task is marked issue-text, page",
		"remit: makes task T-2 of agent helper",
		"cleo: the task is killed",
	}
	if !slices.Equal(said, want) {
		t.Fatalf("%s", strings.Join(said, "\n"))
	}
	if l.reads > 4 {
		t.Errorf("%d reads of the log", l.reads)
	}
	sub, err := f.Trace(t.Context(), "T-2", follow.Directory{}.With(map[remit.ID]string{"p-1": "cleo"}))
	if err != nil || len(sub) != 2 || sub[0].Actor != "I-1 for cleo" || sub[1].Sentence != "starts instance I-2, confinement: uid" {
		t.Errorf("the story of what was delegated: %+v %v", sub, err)
	}
}

func TestNames(t *testing.T) {
	l := newLog()
	f := follow.New(l, nil)
	cleo, old := remit.Hash([]byte("1")), remit.Hash([]byte("2"))
	l.texts[cleo], l.texts[old] = follow.NameBody("Cleo Ö."), follow.NameBody("Cleo Ö.")
	people := []authority.Person{{ID: "p-1", Name: cleo}, {ID: "p-0", Name: old, Removed: true}, {ID: "p-2", Name: remit.Hash([]byte("erased"))}}
	d := f.Directory(t.Context(), people)
	if d.Name("p-1") != "Cleo Ö." || d.Name("p-2") != "p-2" || d.Name("p-9") != "p-9" {
		t.Fatal("names")
	}
	if id, ok := d.ID("Cleo Ö."); !ok || id != "p-1" {
		t.Fatalf("a name of two people means %s", id)
	}
	if _, ok := d.ID("p-2"); ok {
		t.Fatal("an id is nobody's name")
	}
	delete(l.texts, cleo)
	f.Forget(cleo)
	if f.Directory(t.Context(), people).Name("p-1") != "p-1" {
		t.Fatal("an erased name is remembered")
	}
}

func TestRunKeepsUp(t *testing.T) {
	l := newLog()
	l.push(t, repo, remit.Done, oid("01"))
	f := follow.New(l, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	cancel()
	<-done
}
