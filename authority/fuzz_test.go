package authority_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/ledger"
)

// FuzzDecide reads bytes as a sequence of commands on a small world and checks the log that comes of them.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 1, 2, 0, 3, 0, 4, 0, 5, 0})
	f.Add([]byte{0, 3, 2, 9, 6, 1, 7, 2, 3, 3, 4, 0, 5, 1, 8, 40})
	f.Add([]byte{0, 8, 11, 0, 5, 0, 12, 0, 13, 0, 11, 2, 5, 0, 12, 0, 6, 0, 8, 0})
	f.Add([]byte{0, 9, 11, 1, 5, 0, 12, 0, 14, 0, 3, 104, 3, 105, 4, 0, 5, 0, 6, 0})
	f.Add([]byte{0, 0, 11, 3, 5, 0, 12, 0, 8, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 120 {
			return
		}
		w := newWorld(t, []remit.Profile{remit.Team, remit.Solo, remit.Demo}[len(b)%3], family)
		w.quick = true
		wishes := map[remit.Digest]remit.Child{}
		check, read := judge.New(), 0
		var callers []caller
		requests := map[remit.ID]remit.Request{}
		for i := 0; i+1 < len(b); i += 2 {
			op, arg := b[i]%15, int(b[i+1])
			who := remit.ID("p-" + names[arg%len(names)])
			switch {
			case op == 0:
				agent := []string{"coder", "merger", "critic", "pilot", "planner", "shipper"}[arg%4+arg/8%2*2]
				res, err := w.do(&authority.CreateTask{By: []remit.ID{"p-mia", "p-noa"}[arg/4%2], Agent: agent})
				if err == nil {
					callers = append(callers, w.launch(res.ID, agent, w.s.Tasks[res.ID].Requester))
				}
			case op <= 2 && len(callers) > 0:
				c := callers[arg%len(callers)]
				r := push(c, []string{branch(c, "x"), "refs/heads/main"}[arg/8%2], []string{"1", "2"}[arg/16%2], []string{"a", workflow}[arg/32%2])
				r.Steps[0].Action = []remit.Action{"source.push", "source.merge"}[arg/64%2]
				if d := w.ask(r); d.Access != "" {
					requests[d.Access] = r
				}
			case op == 3 && len(w.s.OpenHolds) > 0:
				open := ids(w.s.OpenHolds)
				k := soft(names[arg%len(names)])
				if arg > 100 {
					k = touch(names[arg%len(names)])
				}
				_, _ = w.do(w.ballot(open[arg/8%len(open)], names[arg%len(names)], k, arg%5 > 0))
			case op == 4 && len(w.s.OpenHolds) > 0:
				open := ids(w.s.OpenHolds)
				id := open[arg%len(open)]
				if r, known := requests[id]; known {
					w.ask(w.order(id, r))
				}
			case op == 5 && len(w.s.Permits) > 0:
				_, _ = w.do(&authority.Redeem{Permit: ids(w.s.Permits)[arg%len(w.s.Permits)], Proof: remit.Hash(secret[:]), Hash: proof})
			case op == 6 && len(w.s.Attempts) > 0:
				_, _ = w.do(&authority.Record{Attempt: ids(w.s.Attempts)[arg%len(w.s.Attempts)], Outcome: []remit.Outcome{remit.Done, remit.NotApplied}[arg/8%2]})
			case op == 7 && len(w.s.Instances) > 0:
				_, _ = w.do(&authority.EndInstance{Instance: ids(w.s.Instances)[arg%len(w.s.Instances)]})
			case op == 8 && len(w.s.Tasks) > 0:
				_, _ = w.do(&authority.Kill{By: who, What: []string{"task", "person", "agent"}[arg%3], ID: []remit.ID{ids(w.s.Tasks)[arg%len(w.s.Tasks)], who, "coder"}[arg%3]})
			case op == 9:
				w.later(time.Duration(arg) * time.Minute).tick()
			case op == 10:
				s := clone(w.set)
				without(who)(&s)
				_, _ = w.do(&authority.ApplySet{By: "p-ada", Set: s})
			case op == 11 && len(callers) > 0:
				child := []remit.Child{publishing("a"), deploying(staging, built("a")), wants("medic", "operate.change", remit.Pattern(staging)), wants("helper", "source.push", "repo:forge/acme/payments")}[arg%4]
				if arg/4%4 == 0 {
					child.Inputs = append(child.Inputs, commit("b"))
				}
				wishes[authority.ChildDigest(child)] = child
				r := asking([]remit.Action{"task.request", "task.delegate"}[arg/16%2], callers[arg/32%len(callers)], child)
				if d := w.ask(r); d.Access != "" {
					requests[d.Access] = r
				}
			case op == 12 && len(w.s.Attempts) > 0:
				x := ids(w.s.Attempts)[arg%len(w.s.Attempts)]
				if res, err := w.do(&authority.CreateChild{Attempt: x, Child: wishes[w.s.Attempts[x].Child.Spec]}); err == nil && arg%2 == 0 && w.s.TaskLive(res.ID, w.now.UnixNano()) {
					t := w.s.Tasks[res.ID]
					callers = append(callers, w.launch(res.ID, t.Agent, t.Requester))
				}
			case op == 13:
				if res, err := w.do(job(string(rune('a' + arg%3)))); err == nil {
					callers = append(callers, caller{Instance: res.ID, Agent: "builder", Task: w.s.Instances[res.ID].Task})
				}
			case op == 14:
				for _, id := range ids(w.s.LiveTasks) {
					if t := w.s.Tasks[id]; t.Deploy.Environment != "" {
						r := deploy(caller{Task: id, Agent: t.Agent, Executor: "executor/production"}, t.Deploy)
						if d := w.ask(r); d.Access != "" {
							requests[d.Access] = r
						}
					}
				}
			}
			for ; read < len(w.log); read++ {
				if wrong := check.Read(remit.EntryIndex(read), time.Unix(0, w.log[read].at), w.log[read].event); wrong != nil {
					t.Fatal(wrong)
				}
			}
		}
		w.replay()
	})
}

// FuzzDecodeCommand: whatever is read is written and read again as the same, and can be decided without a panic.
func FuzzDecodeCommand(f *testing.F) {
	w := newWorld(f, remit.Team)
	c := w.task("coder", "p-mia")
	for _, cmd := range []authority.Command{&authority.Tick{}, &authority.ApplySet{By: "p-ada", Set: w.set}, &authority.Authorize{Request: push(c, branch(c, "x"), "1", "a")},
		&authority.CreateTask{By: "p-mia", Agent: "coder"}, &authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}, &authority.CastVote{Access: "A-1"}, &authority.ConfirmKey{Person: "p-mia"},
		&authority.EndTask{Task: c.Task}, &authority.Redeem{Permit: "P-1"}, &authority.Record{Attempt: "X-1"}, &authority.Init{Org: "x"}, &authority.ChangeAgent{Agent: "coder"},
		&authority.CreateChild{Attempt: "X-1", Child: deploying(staging, built("a"))}, job("t"), &authority.Authorize{Request: request(c, publishing("a", "b"))},
		&authority.Authorize{Request: deploy(caller{Task: c.Task, Agent: "coder", Executor: "executor/production"}, remit.Deploy{Environment: "payments/staging", Artifacts: []remit.Artifact{built("a")}})},
		&authority.StartInstance{Task: c.Task}, &authority.EndInstance{Instance: c.Instance}, &authority.CountDenials{Entry: 1, Count: 1}, &authority.ConfirmClock{By: "p-ada"},
		&authority.OpenLease{Attempt: "X-1", Upstream: "forge"}, &authority.MoveLease{Lease: "L-1"}, &authority.AbandonLease{By: "p-ada", Lease: "L-1"}} {
		b, err := authority.EncodeCommand(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := authority.DecodeCommand(b)
		if err != nil {
			return
		}
		once, err := authority.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := authority.DecodeCommand(once)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := authority.EncodeCommand(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\n%s\n%v", once, twice, err)
		}
		before := w.s.Encode()
		events, _, err := authority.Decide(w.s, w.now, c)
		var stale *authority.Stale
		if errors.As(err, &stale) {
			c.(*authority.Authorize).Judged = authority.NewJudged(stale.Facts, w.s.Policy, authority.Finding{Verdict: remit.Allow})
			events, _, err = authority.Decide(w.s, w.now, c)
		}
		if err != nil && events != nil || !bytes.Equal(before, w.s.Encode()) {
			t.Fatal("events beside an error, or a state that Decide changed")
		}
		for _, e := range events {
			if _, err := ledger.Encode(ledger.Leaf{At: w.now, Event: e}); err != nil {
				t.Fatalf("%s cannot be recorded: %v", e.Kind(), err)
			}
		}
	})
}

// FuzzApply: no event makes Apply panic, and what it refuses at the door it leaves alone.
func FuzzApply(f *testing.F) {
	base := related(f)
	c := base.task("coder", "p-mia")
	base.made(request(c, publishing("a")))
	base.must(job("t"))
	base.made(request(base.task("shipper", "p-mia"), deploying(staging, built("a"))))
	id, r := held(base, c)
	base.vote(id, "noa", soft("noa"), true)
	base.redeem(base.allow(base.claim(id, r)).Permit.ID)
	for _, e := range base.log {
		f.Add(e.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ledger.Decode(b)
		if err != nil {
			return
		}
		s := authority.New()
		for _, e := range base.log {
			old, err := ledger.Decode(e.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if err := authority.Apply(s, e.at, old.Event); err != nil {
				t.Fatal(err)
			}
		}
		at := max(l.At.UnixNano(), s.Now)
		next := s.Next
		if err := authority.Apply(s, at, l.Event); (err == nil) != (s.Next == next+1) {
			t.Fatalf("%v, and the next entry is %d after %d", err, s.Next, next)
		}
		if err := authority.Apply(s, at-1, &remit.ClockConfirmed{}); s.Now == at && err == nil {
			t.Fatal("time runs backwards")
		}
		_ = s.Encode()
		_, _, _ = authority.Decide(s, time.Unix(0, at), &authority.Tick{})
	})
}
