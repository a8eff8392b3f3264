package notify_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/notify"
)

func wantIDs(t *testing.T, e *endpoint, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = "acme_example:" + want[i]
	}
	until(t, fmt.Sprint("the endpoint has ", want, ", not more"), func() bool {
		return slices.Equal(slices.Sorted(slices.Values(e.ids())), slices.Sorted(slices.Values(want)))
	})
}

func num(id remit.ID) string { return strings.TrimPrefix(string(id), "A-") }

func TestAStopBetweenSendingAndNotingSendsAgainUnderTheSameID(t *testing.T) {
	h := newHouse(t)
	arrived, die := make(chan struct{}), make(chan struct{})
	var first = true
	e := newEndpoint(t, nil)
	e.set(func(got) int {
		if first {
			first = false
			close(arrived)
			<-die // the endpoint has it; Remit does not know
			return 204
		}
		return 204
	})
	h.secrets["one"] = newSecret()
	h.declare([]remit.Channel{hook("ops", e)})
	id := h.asks()
	_, stop := h.run()
	<-arrived
	stop()
	close(die)
	if strings.Contains(state(t, h, "ops"), `"handed":1`) {
		t.Fatal("it is noted as told before anybody said so")
	}
	o, stop := h.run()
	until(t, "it is told", func() bool { return only(o).Delivered == 1 })
	wantIDs(t, e, num(id)+":ops", num(id)+":ops")
	stop()
	o, _ = h.run()
	next := h.asks()
	until(t, "only what is new is told", func() bool { return only(o).Delivered == 2 })
	wantIDs(t, e, num(id)+":ops", num(id)+":ops", num(next)+":ops")
}

// What arrives while the outbox stops is noted, and not told again.
func TestAStopLetsWhatIsUnderWayArrive(t *testing.T) {
	h := newHouse(t)
	arrived, answer := make(chan struct{}), make(chan struct{})
	let := sync.OnceFunc(func() { close(answer) })
	e := newEndpoint(t, nil)
	t.Cleanup(let)
	e.set(func(got) int {
		select {
		case <-arrived:
		default:
			close(arrived)
			<-answer
		}
		return 204
	})
	h.secrets["one"] = newSecret()
	h.declare([]remit.Channel{hook("ops", e)})
	id := h.asks()
	_, stop := h.run(func(c *notify.Config) {
		after := c.After
		c.After = func(d time.Duration) <-chan time.Time {
			if d == 2*time.Second { // it is stopping
				let()
				return nil
			}
			return after(d)
		}
	})
	<-arrived
	stop()
	if !strings.Contains(state(t, h, "ops"), `"handed":1`) {
		t.Fatal("it arrived, and that is not noted")
	}
	o, stop := h.run()
	defer stop()
	next := h.asks()
	until(t, "only what is new is told", func() bool { return only(o).Delivered == 2 })
	wantIDs(t, e, num(id)+":ops", num(next)+":ops")
}

func TestWhatCannotBeNotedIsNotForgotten(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	h.declare([]remit.Channel{hook("ops", e)})
	o, stop := h.run()
	h.asks()
	until(t, "it is told", func() bool { return only(o).Delivered == 1 })
	if err := os.RemoveAll(h.dir); err != nil { // the disk fails
		t.Fatal(err)
	}
	id := h.asks()
	until(t, "it is sent, and sent again", func() bool {
		n := 0
		for _, x := range e.ids() {
			if x == "acme_example:"+num(id)+":ops" {
				n++
			}
		}
		return n >= 2
	})
	if only(o).Delivered != 1 {
		t.Fatal("told, and not noted")
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "it is noted", func() bool { return only(o).Delivered == 2 })
	stop()
	o, _ = h.run()
	until(t, "it is known", func() bool { return only(o).Delivered == 2 && only(o).Waiting == 0 })
}

func TestWhatIsTold(t *testing.T) {
	h, e, some, few := newHouse(t), newEndpoint(t, nil), newEndpoint(t, nil), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	onlySome, onlyFew := hook("some", some), hook("few", few)
	onlySome.Events = []string{remit.TellDenied, remit.TellFinding}
	onlyFew.Groups = []string{"leads"}
	h.declare([]remit.Channel{hook("all", e), onlySome, onlyFew})
	a := h.asks()
	b := h.asks(func(v *remit.AccessView) { v.Needs = []remit.Need{{Group: "reviewers", N: 1}, {Group: "leads", N: 2}} })
	var all, denied []string
	at := func(e remit.Event) string { return fmt.Sprint(uint64(h.add(e))) }
	all = append(all, num(a), num(b))
	h.add(&remit.VoteCast{Access: a})
	all = append(all, at(&remit.AccessMoved{Access: a, To: remit.AccessMet}))
	h.add(&remit.AccessMoved{Access: a, To: remit.AccessReserved})
	all = append(all, at(&remit.AccessMoved{Access: a, To: remit.AccessOpen, Why: remit.PathProtected}))
	all = append(all, at(&remit.AccessMoved{Access: a, To: remit.AccessVoid, Why: remit.Expired}))
	all = append(all, at(&remit.AccessMoved{Access: a, To: remit.AccessVoid, Why: remit.Stale}))
	h.add(&remit.AccessMoved{Access: a, To: remit.AccessUsed})
	h.add(&remit.Decided{Verdict: remit.Deny})
	denied = append(denied, at(&remit.AccessMoved{Access: a, To: remit.AccessVoid, Why: remit.Vetoed}),
		at(&remit.Found{Detection: remit.Probing, Agent: "coder", Entries: []remit.EntryIndex{1}, Count: 1}))
	all = append(all, denied...)
	all = append(all, at(&remit.BreakGlassOpened{ID: "B-1", Name: "site-down", Task: "T-1", By: "p-ada", Reason: remit.Digest{7}}),
		at(&remit.BreakGlassReviewed{ID: "B-1", By: "p-ben"}))
	name := func(list []string, channel string) (out []string) {
		for _, x := range list {
			out = append(out, x+":"+channel)
		}
		return out
	}
	h.run()
	wantIDs(t, e, name(all, "all")...)
	for _, g := range e.all {
		if text := string(g.body); strings.HasSuffix(g.id, all[len(all)-2]+":all") &&
			(!strings.Contains(text, "BREAK-GLASS site-down was opened for task T-1") || !strings.Contains(text, "name of p-ada") || !strings.Contains(text, `the site is down\\u{202E}`)) {
			t.Fatal(text)
		}
	}
	wantIDs(t, some, name(denied, "some")...)
	wantIDs(t, few, name(append([]string{num(b), denied[1]}, all[len(all)-2:]...), "few")...)
}

func TestTheClockIsToldOnceAndStartsWhenItIsSeen(t *testing.T) {
	h, e, leads := newHouse(t), newEndpoint(t, nil), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	all, lead := hook("all", e), hook("leads", leads)
	all.Remind, lead.Groups, lead.Events = "1h", []string{"leads"}, []string{remit.TellEscalated}
	id := h.asks()
	start := time.Unix(1_800_000_000, 0)
	entry := remit.EntryIndex(1)
	h.waiting.Requests = []notify.Request{{ID: id, Entry: entry, Opened: start, NotAfter: start.Add(24 * time.Hour), Groups: []string{"reviewers"}}}
	h.declare([]remit.Channel{all, lead},
		remit.Escalation{Name: "lead", After: "30m", Unseen: "2h", To: "leads"}, remit.Escalation{Name: "others", After: "1m", To: "leads", Of: []string{"admins"}})
	_, stop := h.run()
	later := func(d time.Duration) {
		h.set(func() { h.ahead = d })
		h.poke()
	}
	later(119 * time.Minute) // nobody has looked, and two hours are not over
	next := h.asks()         // told after what was due
	want := []string{num(next) + ":all"}
	wantIDs(t, e, slices.Clone(want)...)
	h.set(func() { h.waiting.Requests[0].Seen = start.Add(119 * time.Minute) })
	later(148 * time.Minute) // it was seen, and half an hour is not over
	next = h.asks()
	want = append(want, num(next)+":all")
	wantIDs(t, e, slices.Clone(want)...)
	later(149 * time.Minute)
	want = append(want, "1:all:escalated:lead")
	wantIDs(t, e, slices.Clone(want)...)
	wantIDs(t, leads, "1:leads:escalated:lead")
	noted(t, h, "all", 3) // what a stop leaves unnoted is told again
	noted(t, h, "leads", 1)
	stop()
	o, _ := h.run()
	later(23 * time.Hour)
	want = append(want, "1:all:reminder")
	wantIDs(t, e, slices.Clone(want)...)
	h.set(func() {
		h.waiting.Requests = nil
		h.waiting.Debts = []notify.Debt{{Lease: "L-9", Entry: 9, Upstream: "forge", Target: "repo:forge/acme/payments"}}
	})
	h.poke()
	want = append(want, "9:all:debt")
	wantIDs(t, e, slices.Clone(want)...)
	until(t, "what cannot come up again is forgotten", func() bool { return strings.Count(state(t, h, "all"), `"told":["9 lease.debt "]`) == 1 })
	wantIDs(t, leads, "1:leads:escalated:lead")
	_ = o
}

func TestARequestWithVotesIsNotEscalatedAndAnUnseenOneIs(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	a, b := h.asks(), h.asks()
	start := time.Unix(1_800_000_000, 0)
	h.waiting.Requests = []notify.Request{
		{ID: a, Entry: 1, Opened: start, Seen: start, NotAfter: start.Add(24 * time.Hour), Votes: 1, Groups: []string{"reviewers"}},
		{ID: b, Entry: 2, Opened: start, NotAfter: start.Add(24 * time.Hour), Groups: []string{"reviewers"}}}
	h.ahead = 31 * time.Minute
	h.declare([]remit.Channel{hook("all", e)}, remit.Escalation{Name: "lead", After: "30m", To: "leads"})
	h.run()
	wantIDs(t, e, "2:all:escalated:lead")
}

func TestChannelsComeAndGo(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	o, _ := h.run()
	h.asks()
	if len(o.Status()) != 0 {
		t.Fatal(o.Status())
	}
	h.declare([]remit.Channel{hook("ops", e)})
	a := h.asks()
	wantIDs(t, e, num(a)+":ops")
	h.declare(nil)
	until(t, "it is gone", func() bool { return len(o.Status()) == 0 })
	if _, err := os.Stat(h.dir + "/ops.json"); !os.IsNotExist(err) {
		t.Fatal("its position is kept: ", err)
	}
	h.asks()
	h.declare([]remit.Channel{hook("ops", e)})
	b := h.asks()
	wantIDs(t, e, num(a)+":ops", num(b)+":ops") // not what was asked while there was no channel
}

func TestAPositionThatCannotBeRead(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	if err := os.WriteFile(h.dir+"/ops.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.declare([]remit.Channel{hook("ops", e), hook("well", e)})
	id := h.asks()
	o, _ := h.run()
	until(t, "the other one is told all the same", func() bool { return slices.Contains(e.ids(), "acme_example:"+num(id)+":well") })
	if v := o.Status()[0]; v.Name != "ops" || !strings.Contains(v.Why, "not the position") {
		t.Fatalf("%+v", v)
	}
}

func TestAnEndpointThatIsDownForLongParksNothing(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, func(got) int { return 500 })
	h.secrets["one"] = newSecret()
	h.declare([]remit.Channel{hook("ops", e)})
	id := h.asks()
	o, _ := h.run()
	until(t, "it was tried often", func() bool { return only(o).Tries > 25 })
	if v := only(o); len(v.Parked) != 0 || v.Waiting != 1 {
		t.Fatalf("%+v", v)
	}
	e.set(nil)
	until(t, "it is told", func() bool { return only(o).Delivered == 1 })
	if ids := e.ids(); ids[len(ids)-1] != "acme_example:"+num(id)+":ops" {
		t.Fatal(ids)
	}
}
