package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/sshsig"
)

// reviewing is a server with a monthly campaign, which dies at one of its commits, is away for a while, and starts again over
// the same log.
type reviewing struct {
	t       *testing.T
	memory  *ledgertest.Memory
	dir     string
	c       *world.Core
	commits int // since the campaign was declared
	dies    int // at this one; 0: at none
	how     ledgertest.Fault
	away    time.Duration
	died    bool
}

func (r *reviewing) open() {
	store := ledgertest.NewFaulty(r.memory, func() ledgertest.Fault {
		if r.commits++; r.commits == r.dies {
			return r.how
		}
		return ledgertest.Works
	})
	o := world.CoreOptions{Store: store, Dir: r.dir}
	if r.c != nil {
		o.Clock, o.Rules = r.c.Clock, r.c.Rules
	}
	r.c = open(r.t, o)
}

// survives tells whether a command came to its end; else the server is started again, after it was away.
func (r *reviewing) survives(err error) bool {
	r.t.Helper()
	var code *remit.Error
	switch {
	case err == nil:
		return true
	case !errors.As(err, &code) || code.Code != remit.LedgerDown || r.died:
		r.t.Fatal(err)
	}
	r.died = true
	r.c.Engine.Close()
	r.c.Clock.Advance(r.away)
	r.open()
	return false
}

// keep answers one item of an agent, in the name of its owner; it tells whether there was one that was still to be answered.
func (r *reviewing) keep(agent string) bool {
	var origin string
	r.c.Engine.View(func(s *authority.State) { origin = s.Origin })
	for _, x := range items(r.c) {
		if x.Agent != agent || x.Canary {
			continue
		}
		st := remit.Certification{Origin: origin, Answers: []remit.Certified{{Item: x.ID, Answer: remit.Keep, Shown: x.Shown}}}.Bytes()
		sig, err := sshsig.Sign(world.Touch("mia"), remit.ReviewNamespace, st)
		if err != nil {
			r.t.Fatal(err)
		}
		_, err = r.c.Engine.Do(r.t.Context(), &authority.Answers{By: "p-mia", Statement: st, Signature: sig})
		return r.survives(err)
	}
	return false
}

// play goes through one run from before its time to its end.
func (r *reviewing) play() {
	r.memory, r.dir = &ledgertest.Memory{}, r.t.TempDir()
	died := r.dies
	r.dies = 0
	r.open()
	monthly(r.t, r.c)
	now := r.c.Engine.Now().UTC()
	r.c.Clock.Advance(time.Date(now.Year(), now.Month()+1, 1, 8, 30, 0, 0, time.UTC).Sub(now))
	r.commits, r.dies = 0, died
	for hours := 0; r.last("campaign.closed") == nil; hours++ {
		if hours > 24*60 {
			r.t.Fatal("the run does not end")
		}
		r.c.Clock.Advance(time.Hour)
		r.survives(r.c.Engine.Tick(r.t.Context()))
		if hours == 5 {
			r.keep("canary")
		}
	}
}

// leaves is the log.
func (r *reviewing) leaves() (out []ledger.Leaf) {
	for e, err := range r.memory.Read(r.t.Context(), 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func (r *reviewing) last(kind string) remit.Event {
	all := r.leaves()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Event.Kind() == kind {
			return all[i].Event
		}
	}
	return nil
}

// once holds that the first run was opened once, that each of its items was opened, reminded of and ended once, in that order and
// never before people had the time that they were promised.
func (r *reviewing) once() {
	r.t.Helper()
	type item struct {
		opened, half, last, ended time.Time
		deadline                  time.Time
		answered                  bool
	}
	var run *remit.CampaignOpened
	all := map[remit.ID]*item{}
	about := map[string]bool{}
	var counts remit.RunCount
	first := func(what string, id remit.ID, at time.Time, was *time.Time) {
		if !was.IsZero() {
			r.t.Errorf("item %s was %s at %s, and again at %s", id, what, was, at)
		}
		*was = at
	}
	for _, l := range r.leaves() {
		switch e := l.Event.(type) {
		case *remit.CampaignOpened:
			if run != nil {
				r.t.Errorf("opened as %s and as %s", run.ID, e.ID)
			}
			run = e
		case *remit.ReviewOpened:
			key := e.Agent + " " + authority.HoldingKey(e.Scope, e.Function)
			if about[key] || all[e.ID] != nil || e.Run != run.ID {
				r.t.Errorf("item %s, of %s, is about what another one is about: %s", e.ID, e.Run, key)
			}
			about[key], all[e.ID] = true, &item{opened: l.At, deadline: time.Unix(0, e.Deadline)}
		case *remit.ReviewReminded:
			for _, id := range e.Items {
				if e.Last {
					first("reminded of for the last time", id, l.At, &all[id].last)
				} else {
					first("reminded of", id, l.At, &all[id].half)
				}
			}
		case *remit.ReviewAnswered:
			all[e.Item].answered = true
			first("ended", e.Item, l.At, &all[e.Item].ended)
			counts.Kept++
		case *remit.ReviewRemoved:
			first("ended", e.Item, l.At, &all[e.Item].ended)
			counts.Lapsed++
		case *remit.ReviewVoid:
			first("ended", e.Item, l.At, &all[e.Item].ended)
			counts.Unseen++
		case *remit.CampaignClosed:
			counts.Items = counts.Kept + counts.Lapsed
			if e.ID != run.ID || e.Counts != counts {
				r.t.Errorf("closed with %+v; the log has %+v", e.Counts, counts)
			}
			if len(all) != 4 || counts.Items != 3 || counts.Unseen != 1 {
				r.t.Errorf("%d items, %+v; there are three entitlements and a canary", len(all), counts)
			}
			for id, x := range all {
				grace := min(24*time.Hour, x.deadline.Sub(x.opened)/4)
				if x.ended.IsZero() || !x.answered && (x.last.IsZero() || x.ended.Before(x.deadline) || x.ended.Sub(x.last) < grace) {
					r.t.Errorf("item %s: opened %s, reminded %s and %s, ended %s; its deadline was %s", id, x.opened, x.half, x.last, x.ended, x.deadline)
				}
			}
			r.c.Engine.View(func(s *authority.State) {
				have := 0
				for _, a := range s.Agents {
					have += len(a.Entitlements)
				}
				if have != counts.Kept {
					r.t.Errorf("%d entitlements are left, and %d were kept", have, counts.Kept)
				}
			})
			check(r.t, r.c)
			return // what opens next is another run
		}
	}
	r.t.Error("the run was not closed")
}

// The server dies at each commit of a run, with and without the commit; and it is away for a moment, over a reminder, over the
// deadline, and over the next time of the campaign. What time has made true meanwhile is made up for once, and in its order.
func TestARestartMakesUpForAReviewOnce(t *testing.T) {
	whole := reviewing{t: t}
	whole.play()
	whole.once()
	commits := whole.commits
	if commits < 6 { // the run, its items, an answer, two reminders, the end
		t.Fatalf("a run is %d commits", commits)
	}
	for at := 1; at <= commits; at++ {
		for _, how := range []ledgertest.Fault{ledgertest.NotApplied, ledgertest.Applied} {
			for _, away := range []time.Duration{time.Minute, 30 * time.Hour, 60 * time.Hour, 45 * 24 * time.Hour} {
				t.Run(fmt.Sprintf("%d %v away %s", at, how, away), func(t *testing.T) {
					r := reviewing{t: t, dies: at, how: how, away: away}
					r.play()
					if !r.died {
						t.Fatalf("it did not die at commit %d of %d", at, r.commits)
					}
					r.once()
				})
			}
		}
	}
}

// The server is away over everything: nobody was reminded of anything. It reminds first, and people have the time that a last
// reminder leaves them.
func TestAServerThatWasAwayOverADeadlineRemindsFirst(t *testing.T) {
	r := &reviewing{t: t}
	r.memory, r.dir = &ledgertest.Memory{}, t.TempDir()
	r.open()
	monthly(t, r.c)
	do(t, r.c, &authority.OpenRun{By: "p-ada", Campaign: "monthly"})
	r.c.Clock.Advance(time.Minute)
	tick(t, r.c)
	r.c.Engine.Close()
	r.c.Clock.Advance(10 * 24 * time.Hour)
	r.open()
	tick(t, r.c)
	if e, ok := r.last("review.reminded").(*remit.ReviewReminded); !ok || !e.Last || len(e.Items) != 4 || r.last("review.removed") != nil {
		t.Fatalf("%+v, and %+v", e, r.last("review.removed"))
	}
	r.c.Engine.Close()
	r.c.Clock.Advance(11 * time.Hour)
	r.open()
	tick(t, r.c)
	if !r.keep("canary") {
		t.Fatal("there is nothing to answer any more")
	}
	if e := r.last("review.removed"); e != nil {
		t.Fatalf("%+v, an hour early", e)
	}
	r.c.Engine.Close()
	r.c.Clock.Advance(2 * time.Hour)
	r.open()
	for range 3 {
		tick(t, r.c)
		r.c.Clock.Advance(time.Minute)
	}
	r.once()
}
