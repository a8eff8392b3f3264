package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/sshsig"
)

// What people do: vote, carry out what was approved, take away, declare, and let time pass.

func (w *World) ballot(id remit.ID, voter string, hard, approve bool) {
	var st remit.Statement
	w.view(func(s *authority.State) {
		if a := s.Accesses[id]; a != nil {
			st = remit.Statement{Origin: s.Origin, Request: id, Approve: approve, Effect: a.Effect, Change: a.Change, Card: a.Card, NotAfter: time.Unix(0, a.NotAfter)}
		}
	})
	if w.one(30) {
		st.Effect = digest("another")
	}
	var key ssh.Signer = keys[voter][0]
	if hard {
		key = keys[voter][1]
	}
	enrolled := false
	w.view(func(s *authority.State) {
		p := s.People[remit.ID("p-"+voter)]
		enrolled = p != nil && len(p.Enrolled) > 0
	})
	if voter == newcomer || w.one(8) || enrolled && w.one(2) {
		key = phone(voter)
	}
	sig, err := sshsig.Sign(key, remit.VoteNamespace, st.Bytes())
	if err != nil {
		panic(err)
	}
	w.say("  %s votes %v on %s", voter, approve, id)
	in, proved := w.signedIn(remit.Hash([]byte(voter), st.Bytes()))
	_, _ = w.do(&authority.CastVote{Access: id, Person: remit.ID("p-" + voter), Statement: st.Bytes(), Signature: sig, Signed: in, Proved: proved, Loopback: w.one(6), Host: digest(pick(w, "a laptop", "another"))})
}

// signedIn is how somebody is signed in for a vote; mostly well enough for what may be asked of it.
func (w *World) signedIn(luck remit.Digest) (in remit.SignedIn, proved int64) {
	in = remit.SignedIn{Method: "provider", Provider: "corp", ACR: "phr", AMR: []string{"hwk"}}
	if luck[0] < 40 {
		in.ACR = "pwd"
	}
	if luck[1] < 40 {
		return in, 0
	}
	return in, w.clock.Now().Add(-time.Duration(luck[2]%13) * time.Minute).UnixNano()
}

func (w *World) openHolds() []remit.ID {
	return w.ids(func(s *authority.State) []remit.ID { return sorted(s.OpenHolds) })
}

func (w *World) vote() {
	if open := w.openHolds(); len(open) > 0 {
		w.ballot(pick(w, open...), pick(w, people...), !w.one(3), !w.one(6))
	}
}

func (w *World) carry() {
	open := w.openHolds()
	if len(open) == 0 {
		return
	}
	id := pick(w, open...)
	w.agree(id)
	if !w.one(3) {
		w.executeOne(id)
	}
}

// agree has everybody vote who may.
func (w *World) agree(id remit.ID) {
	var may []remit.ID
	w.view(func(s *authority.State) { may, _ = s.Eligible(id, w.engine.Now().UnixNano()) })
	for _, p := range may {
		if w.status(id) == remit.AccessOpen && !w.dead {
			w.ballot(id, string(p[2:]), p != "p-noa", true)
		}
	}
	if w.profile == remit.Solo {
		w.sleep(6 * time.Minute)
	}
}

func (w *World) status(id remit.ID) (st remit.AccessStatus) {
	w.view(func(s *authority.State) {
		if a := s.Accesses[id]; a != nil {
			st = a.Status
		}
	})
	return st
}

func (w *World) execute() {
	for _, id := range w.openHolds() {
		w.executeOne(id)
	}
}

// executeOne carries an approved order out, once, as the executor does.
func (w *World) executeOne(id remit.ID) {
	if w.dead || w.status(id) != remit.AccessMet {
		return
	}
	if set, ok := w.sets[id]; ok {
		w.putInForce(pick(w, remit.ID("p-ada"), "p-ada", "p-bob"), set, id)
		return
	}
	c, d, err := w.Claim(context.Background(), id)
	w.say("  %s is claimed: %s %s %s", id, d.Verdict, d.Code, reason(err))
	if err != nil || d.Verdict != remit.Allow {
		return
	}
	w.permits = append(w.permits, stashed{c.Permit, c.Order})
	w.meanwhile()
	w.complete(w.permits[len(w.permits)-1])
	if w.one(4) {
		w.executeOne(id) // another executor, or the same again
	}
}

// takeAway is what somebody does who wants it to stop.
func (w *World) takeAway() {
	tasks := w.ids(func(s *authority.State) []remit.ID { return sorted(s.LiveTasks) })
	by := pick(w, w.somebody(), "p-ada", "p-mia")
	kill := func(what string, id remit.ID) {
		err := w.engine.Kill(authority.Kill{By: by, What: what, ID: id})
		w.odd(err)
		var e *remit.Error
		if errors.As(err, &e); what == "task" && (err == nil || e != nil && e.Code == remit.LedgerDown) {
			w.struck[id] = true
		}
		w.say("  %s kills %s %s %s", by, what, id, reason(err))
		w.stats["kill"]++
	}
	if w.dead {
		return
	}
	switch w.r.IntN(10) {
	case 0, 1, 2:
		if len(tasks) > 0 {
			kill("task", pick(w, tasks...))
		}
	case 3:
		if w.one(3) {
			kill("agent", remit.ID(pick(w, "coder", "merger", "builder", "pilot")))
		}
	case 4:
		if w.one(4) {
			kill("person", w.somebody())
		}
	case 8: // somebody whose vote stands leaves
		voters := w.ids(func(s *authority.State) (out []remit.ID) {
			for _, id := range sorted(s.OpenHolds) {
				for _, v := range s.Accesses[id].Votes {
					out = append(out, v.Person)
				}
			}
			return out
		})
		if len(voters) > 0 {
			by = "p-ada"
			kill("person", pick(w, voters...))
		}
	case 9: // or is no longer asked
		s := clone(w.set)
		s.Groups[2].Members, s.Groups[3].Members = []remit.ID{pick(w, remit.ID("p-noa"), "p-rio", "p-tom")}, []remit.ID{"p-sam"}
		w.putInForce("p-ada", s, "")
	case 5:
		_, _ = w.do(&authority.ChangeAgent{By: by, Agent: pick(w, "coder", "merger", "pilot"), To: pick(w, remit.AgentSuspended, remit.AgentActive, remit.AgentActive)})
	case 6:
		if i := w.ids(func(s *authority.State) []remit.ID { return sorted(s.Instances) }); len(i) > 0 {
			if h := w.ids(func(s *authority.State) []remit.ID { return sorted(s.OpenHolds) }); len(h) > 0 && w.one(2) {
				_, _ = w.do(&authority.DropHold{Instance: pick(w, i...), Access: pick(w, h...)})
				return
			}
			_, _ = w.do(&authority.EndInstance{Instance: pick(w, i...), Lost: w.one(2)})
		}
	case 7:
		if len(tasks) > 0 {
			_, _ = w.do(&authority.EndTask{By: by, Task: pick(w, tasks...), Status: pick(w, remit.TaskCompleted, remit.TaskCancelled), DropHolds: w.one(2)})
		}
	}
}

// interfere has somebody come in between the steps of what is done next.
func (w *World) interfere() {
	w.armed, w.after = rand.New(rand.NewPCG(w.r.Uint64(), 7)), 1+w.r.IntN(6)
}

func (w *World) declare() {
	s := clone(w.set)
	switch w.r.IntN(14) {
	case 0:
		s.Agents[0].Owner = w.somebody()
	case 1:
		s.Groups[2].Members = []remit.ID{w.somebody(), "p-tom"}
	case 2:
		s.Groups[3].Members = []remit.ID{w.somebody(), "p-sam"}
	case 3:
		need := remit.Need{Group: pick(w, "reviewers", "release"), N: 1 + w.r.IntN(2)}
		if need.N == 1 {
			need.StepUp = remit.StepUp{ACR: []string{"phr"}, MaxAge: "10m"}
		}
		s.Repositories[0].Approvers = []remit.Need{need}
	case 4:
		s.Agents[0].Entitlements = s.Agents[0].Entitlements[:1]
	case 5:
		s.People[2].Keys = s.People[2].Keys[:1]
	case 6:
		s.Repositories[0].Effects = s.Repositories[0].Effects[:w.r.IntN(len(s.Repositories[0].Effects)+1)]
	case 7:
		s.Agents[1].Expires = w.clock.Now().Unix() + int64(1+w.r.IntN(600))
	case 8:
		s.Repositories[1].Reviews = w.r.IntN(2)
	case 9:
		s.Environments[0].Evidence = pick(w, nil, []string{"merged"}, []string{"deployed:app/staging"})
	case 10:
		s.Repositories[1].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: pick(w, "", "verdict:2", "verdict+built")}}
	case 11:
		s.Environments[1].Approvers = []remit.Need{{Group: "release", N: 1, Evidence: pick(w, "", "built"), InProduction: w.one(2)}}
	case 12:
		i := pick(w, 2, 3)
		if s.Groups[i].Asks = (remit.Asks{Most: 1 + w.r.IntN(3), Hours: pick(w, 1, 24)}); w.one(4) {
			s.Groups[i].Asks = remit.Asks{}
		}
	case 13:
		s.Policy, s.PolicyWidens = pick(w, world.Nothing.Digest(), strict.Digest(), closed.Digest()), "it is another one"
	}
	w.putInForce(pick(w, remit.ID("p-ada"), "p-bob", "p-ada", "p-mia"), s, "")
}

func (w *World) putInForce(by remit.ID, s authority.Set, access remit.ID) {
	res, err := w.do(&authority.ApplySet{By: by, Set: s, Access: access})
	switch {
	case err != nil:
	case res.Decision.Verdict == remit.Hold:
		w.sets[res.Decision.Access] = s
	default:
		s.Policy, s.PolicyWidens = remit.Digest{}, ""
		w.set = s
	}
}

func (w *World) sleep(d time.Duration) {
	time.Sleep(d)
	if err := w.engine.Tick(context.Background()); err != nil && w.engine.Failed() == nil {
		w.odd(err)
	}
}

func (w *World) pass() {
	w.sleep(pick(w, time.Second, 20*time.Second, 5*time.Minute, time.Hour, 5*time.Hour))
}

func (w *World) jump() {
	w.clock.off += pick(w, -time.Hour, -10*time.Second, 30*time.Second, 3*time.Hour)
	w.jumped = true
	w.say("  to %s", w.clock.Now())
	if !w.one(4) {
		w.odd(w.engine.ConfirmClock(pick(w, remit.ID("p-ada"), "p-ada", "p-bob", "p-mia")))
	}
}
