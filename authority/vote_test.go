package authority_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

func TestVote(t *testing.T) {
	each(t, remit.Team, []row{
		{"whoever caused or steered it may not vote", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-mia", "p-noa", "p-rio"} })
			id, _ := held(w, w.task("coder", "p-mia"))
			w.refuse(w.ballot(id, "mia", touch("mia"), true), remit.NotEligible, "caused or steered")
			w.refuse(w.ballot(id, "sam", touch("sam"), true), remit.NotEligible, "none of the groups")
			w.refuse(w.ballot(id, "coder", soft("noa"), true), remit.UnknownPrincipal, "agents never vote")
			may, not := w.s.Eligible(id, w.now.UnixNano())
			if fmt.Sprint(may) != "[p-noa p-rio]" || len(not) != 1 || w.s.MayVote(id, "p-noa", w.now.UnixNano()) != "" || w.s.MayVote(id, "p-mia", w.now.UnixNano()) == "" {
				t.Fatal(may, not)
			}
			if w.s.MayVote("A-0", "p-noa", 0) == "" {
				t.Fatal("nobody votes on nothing")
			}
			if may, _ := w.s.Eligible("A-0", 0); may != nil {
				t.Fatal(may)
			}
		}},
		{"whoever joins the closure after the request may not vote", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-noa" })
			w.refuse(w.ballot(id, "noa", soft("noa"), true), remit.NotEligible, "caused or steered")
		}},
		{"a person who was killed may not vote", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			w.refuse(w.ballot(id, "noa", soft("noa"), true), remit.NotEligible, "has left")
		}},
		{"a vote is on a request that is open, in its time", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(time.Hour) })
			id, _ := held(w, c)
			b := w.ballot(id, "noa", soft("noa"), true)
			b.Access = "A-0"
			w.refuse(b, remit.NotFound, "no access request")
			w.vote(id, "noa", soft("noa"), true)
			w.refuse(w.ballot(id, "rio", soft("rio"), true), remit.Conflict, "is met")
			id = w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			w.later(time.Hour)
			w.refuse(w.ballot(id, "rio", soft("rio"), true), remit.Conflict, "is void")
		}},
		{"a statement binds log, request, effect, change, card and time", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			a := w.s.Accesses[id]
			good := remit.Statement{Origin: w.s.Origin, Request: id, Approve: true, Effect: a.Effect, Change: a.Change, Card: a.Card, NotAfter: time.Unix(0, a.NotAfter)}
			for i, change := range []func(*remit.Statement){
				func(s *remit.Statement) { s.Origin = "log.example" },
				func(s *remit.Statement) { s.Request = "A-0" },
				func(s *remit.Statement) { s.Effect = a.Change },
				func(s *remit.Statement) { s.Change = a.Card },
				func(s *remit.Statement) { s.Card = a.Effect },
				func(s *remit.Statement) { s.NotAfter = s.NotAfter.Add(time.Second) },
			} {
				st := good
				change(&st)
				sig, err := sshsig.Sign(soft("noa"), remit.VoteNamespace, st.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				words := []string{"is for log", "is for request", "binds another", "binds another", "binds another", "ends at another time"}[i]
				w.refuse(&authority.CastVote{Access: id, Person: "p-noa", Statement: st.Bytes(), Signature: sig}, remit.BadVote, words)
			}
			w.refuse(&authority.CastVote{Access: id, Person: "p-noa", Statement: []byte("yes")}, remit.BadVote, "not a vote's statement")
			sig, _ := sshsig.Sign(soft("noa"), authority.ConfirmNamespace, good.Bytes())
			w.refuse(&authority.CastVote{Access: id, Person: "p-noa", Statement: good.Bytes(), Signature: sig}, remit.BadVote, "no declared key")
			b := w.ballot(id, "noa", soft("rio"), true)
			w.refuse(b, remit.BadVote, "no declared key")
			b = w.ballot(id, "noa", soft("noa"), true)
			b.Statement = bytes.Replace(b.Statement, []byte("approve"), []byte("deny"), 1)
			w.refuse(b, remit.BadVote, "no declared key")
		}},
		{"a person votes once, and one veto ends it", func(t *testing.T, w *world) {
			id, _ := merging(w)
			w.vote(id, "rio", touch("rio"), true)
			w.refuse(w.ballot(id, "rio", touch("rio"), true), remit.Conflict, "already voted")
			w.vote(id, "rio", touch("rio"), false)
			w.status(id, remit.AccessVoid, remit.Vetoed)
		}},
		{"production takes no software vote for an approval, and any veto", func(t *testing.T, w *world) {
			id, _ := merging(w)
			w.refuse(w.ballot(id, "rio", soft("rio"), true), remit.BadVote, "touch of a hardware-backed key")
			w.refuse(w.ballot(id, "noa", soft("noa"), true), remit.NotEligible, "no hardware-backed key")
			w.vote(id, "rio", soft("rio"), false)
			w.status(id, remit.AccessVoid, remit.Vetoed)
		}},
		{"a software vote from where the task ran unconfined does not count", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			b := w.ballot(id, "noa", soft("noa"), true)
			b.Loopback = true
			w.must(&authority.StartInstance{By: "p-mia", Task: c.Task, Confinement: remit.ConfineNone, Secret: secret, Host: host})
			w.refuse(b, remit.BadVote, "ran unconfined")
			b.Loopback, b.Host = false, host
			w.refuse(b, remit.BadVote, "ran unconfined")
			touched := w.ballot(id, "rio", touch("rio"), true)
			touched.Host = host
			w.must(touched)
			id = w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			b = w.ballot(id, "noa", soft("noa"), true)
			b.Host = secret
			w.must(b)
			if v := w.s.Accesses[id].Votes[0]; v.Assurance != remit.AssuranceSoftware {
				t.Fatal(v)
			}
			id, _ = held(w, w.task("coder", "p-mia"))
			b = w.ballot(id, "noa", soft("noa"), true)
			b.Loopback = true
			w.must(b) // of another task
		}},
		{"a key counts on requests made after it", func(t *testing.T, w *world) {
			early, _ := held(w, w.task("coder", "p-mia"))
			w.apply(func(s *authority.Set) {
				s.People[3].Keys = append(slicesOf(s.People[3].Keys), key(touch("noa")))
			})
			w.refuse(w.ballot(early, "noa", touch("noa"), true), remit.BadVote, "no declared key")
			w.later(24*time.Hour - 2*time.Second)
			before, _ := held(w, w.task("coder", "p-mia"))
			w.later(2 * time.Second)
			w.refuse(w.ballot(before, "noa", touch("noa"), true), remit.BadVote, "no declared key")
			after, _ := held(w, w.task("coder", "p-mia"))
			w.vote(after, "noa", touch("noa"), true)
			if v := w.s.Accesses[after].Votes[0]; v.Assurance != remit.AssuranceTouch {
				t.Fatal(v)
			}
		}},
		{"a person's first key does not count on older requests", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			w.apply(func(s *authority.Set) {
				s.People = append(s.People, person("new", touch("new")))
				s.Groups[2].Members = append(slicesOf(s.Groups[2].Members), "p-new")
			})
			w.refuse(w.ballot(id, "new", touch("new"), true), remit.NotEligible, "no key that was in force")
		}},
		{"a vote by a key that was taken away does not stand, and its voter votes again", func(t *testing.T, w *world) {
			id, r := merging(w)
			w.vote(id, "rio", touch("rio"), true)
			w.vote(id, "sam", touch("sam"), true)
			w.apply(func(s *authority.Set) { s.People[4].Keys = s.People[4].Keys[:1] })
			w.vote(id, "tom", touch("tom"), true)
			w.status(id, remit.AccessOpen, "")
			_ = r
		}},
	})
}

func TestConfirmKey(t *testing.T) {
	sign := func(w *world, k remit.Key, by string) []byte {
		st := authority.ConfirmStatement(w.s.Origin, "p-noa", remit.Hash(k.Public))
		sig, err := sshsig.Sign(soft(by), authority.ConfirmNamespace, st)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		return sig
	}
	each(t, remit.Team, []row{
		{"an old key confirms a new one, which counts from then on", func(t *testing.T, w *world) {
			k := key(soft("noa 2"))
			w.apply(func(s *authority.Set) { s.People[3].Keys = append(slicesOf(s.People[3].Keys), k) })
			digest := remit.Hash(k.Public)
			early, _ := held(w, w.task("coder", "p-mia"))
			w.refuse(&authority.ConfirmKey{Person: "p-eve", Key: digest}, remit.UnknownPrincipal, "no such person")
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: secret}, remit.Conflict, "not declared")
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: digest, Signature: sign(w, k, "rio")}, remit.BadVote, "older key")
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: digest, Signature: sign(w, k, "noa 2")}, remit.BadVote, "older key")
			w.must(&authority.ConfirmKey{Person: "p-noa", Key: digest, Signature: sign(w, k, "noa")})
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: digest, Signature: sign(w, k, "noa")}, remit.Conflict, "no confirmation")
			w.refuse(w.ballot(early, "noa", soft("noa 2"), true), remit.BadVote, "no declared key")
			after, _ := held(w, w.task("coder", "p-mia"))
			w.vote(after, "noa", soft("noa 2"), true)
		}},
		{"a key that was never confirmed confirms no other", func(t *testing.T, w *world) {
			k, l := key(soft("noa 2")), key(soft("noa 3"))
			w.apply(func(s *authority.Set) { s.People[3].Keys = append(slicesOf(s.People[3].Keys), k, l) })
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: remit.Hash(k.Public), Signature: sign(w, k, "noa 3")}, remit.BadVote, "older key")
		}},
		{"a new key that no second administrator approved waits for its confirmation for ever", func(t *testing.T, w *world) {
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
			w.refuse(&authority.ConfirmClock{By: "p-bob"}, remit.Forbidden, "administrator")
			w.apply(func(s *authority.Set) { s.People[3].Keys = append(slicesOf(s.People[3].Keys), key(soft("noa 2"))) })
			w.later(48 * time.Hour)
			id, _ := held(w, w.task("coder", "p-mia"))
			w.refuse(w.ballot(id, "noa", soft("noa 2"), true), remit.BadVote, "no declared key")
		}},
		{"a killed person confirms nothing", func(t *testing.T, w *world) {
			k := key(soft("noa 2"))
			w.apply(func(s *authority.Set) { s.People[3].Keys = append(slicesOf(s.People[3].Keys), k) })
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			w.refuse(&authority.ConfirmKey{Person: "p-noa", Key: remit.Hash(k.Public), Signature: sign(w, k, "noa")}, remit.UnknownPrincipal, "no such person")
		}},
	})
}

func TestSolo(t *testing.T) {
	mine := func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-mia", "p-noa"} }
	hold := func(w *world) (remit.ID, remit.Request, caller) {
		w.apply(mine)
		c := w.task("coder", "p-mia")
		id, r := held(w, c)
		return id, r, c
	}
	each(t, remit.Solo, []row{
		{"one's own touch counts after five minutes", func(t *testing.T, w *world) {
			id, r, _ := hold(w)
			w.refuse(w.ballot(id, "mia", soft("mia"), true), remit.BadVote, "your own request needs a touch")
			w.vote(id, "mia", touch("mia"), true)
			if v := w.s.Accesses[id].Votes[0]; v.Assurance != remit.AssuranceSelf {
				t.Fatal(v)
			}
			w.later(5*time.Minute - 1).tick()
			w.status(id, remit.AccessOpen, "")
			w.later(1).tick()
			w.status(id, remit.AccessMet, "")
			w.redeem(w.allow(w.claim(id, r)).Permit.ID)
		}},
		{"it can be taken back in between", func(t *testing.T, w *world) {
			id, _, _ := hold(w)
			w.vote(id, "mia", touch("mia"), true)
			w.vote(id, "mia", touch("mia"), false)
			w.status(id, remit.AccessVoid, remit.Vetoed)
		}},
		{"the delay is not carried away by a new push", func(t *testing.T, w *world) {
			id, r, _ := hold(w)
			w.vote(id, "mia", touch("mia"), true)
			r.Refs = slices.Clone(r.Refs)
			r.Refs[0].New = oid("rebased")
			next := w.hold(r, remit.PathProtected)
			w.status(next, remit.AccessOpen, "")
			w.later(5*time.Minute - 1).tick()
			w.status(next, remit.AccessOpen, "")
			w.later(1).tick()
			w.status(next, remit.AccessMet, "")
		}},
		{"somebody else needs no delay and no hardware", func(t *testing.T, w *world) {
			id, _, _ := hold(w)
			w.vote(id, "noa", soft("noa"), true)
			w.status(id, remit.AccessMet, "")
		}},
		{"never in production", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Groups[2].Members, s.Groups[3].Members = []remit.ID{"p-mia", "p-tom"}, []remit.ID{"p-mia"}
				s.Environments[0].Approvers = []remit.Need{{Group: "release", N: 1}}
			})
			r := push(w.task("merger", "p-mia"), "refs/heads/main", "1")
			r.Steps[0].Action = "source.merge"
			w.deny(r, remit.NoApprover, "p-mia caused")
			w.apply(func(s *authority.Set) {
				supply(s)
				s.Repositories[0].Approvers, s.Groups[3].Members = nil, []remit.ID{"p-mia"}
			})
			r = w.deployment(w.task("pilot", "p-mia"), production, w.published("a", "1"))
			w.deny(r, remit.NoApprover, "p-mia caused")
		}},
		{"never where two are asked for", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				mine(s)
				s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}}
			})
			c := w.task("coder", "p-mia")
			w.deny(push(c, branch(c, "x"), "1", workflow), remit.NoApprover, "p-mia caused")
		}},
		{"the tick asks again whether it may", func(t *testing.T, w *world) {
			id, _, _ := hold(w)
			w.vote(id, "mia", touch("mia"), true)
			w.apply(func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-noa"} })
			w.later(5 * time.Minute).tick()
			w.status(id, remit.AccessOpen, "")
			if w.s.Due(w.now.UnixNano()) {
				t.Fatal("a tick that changes nothing is due")
			}
		}},
		{"a second administrator is somebody else", func(t *testing.T, w *world) {
			w.set = clone(w.set)
			w.set.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			id := w.must(&authority.ApplySet{By: "p-ada", Set: w.set}).Decision.Access
			w.refuse(w.ballot(id, "ada", touch("ada"), true), remit.NotEligible, "caused or steered")
		}},
	})
}

func TestDemo(t *testing.T) {
	w := newWorld(t, remit.Demo)
	id, r := merging(w)
	for _, v := range []string{"rio", "noa"} {
		b := w.ballot(id, v, soft(v), true)
		b.Loopback = true
		w.must(b)
	}
	w.vote(id, "sam", touch("sam"), true)
	w.status(id, remit.AccessMet, "")
	a := w.s.Accesses[id]
	if a.Votes[0].Assurance != remit.AssuranceNone || a.Votes[2].Assurance != remit.AssuranceTouch {
		t.Fatal(a.Votes)
	}
	w.redeem(w.allow(w.claim(id, r)).Permit.ID)
	w.refuse(w.ballot(id, "mia", soft("mia"), true), remit.Conflict, "nothing to vote on")
}

// TestClosure looks at who is in the closure of a hold, by what they did.
func TestClosure(t *testing.T) {
	contains := func(t *testing.T, w *world, r remit.Request, want ...remit.ID) {
		t.Helper()
		id := w.hold(r, remit.PathProtected)
		got := w.s.Accesses[id].Closure
		for _, p := range want {
			if !slices.Contains(got, p) {
				t.Fatalf("%v lacks %s", got, p)
			}
			if !slices.Contains(w.s.Tasks[r.Caller.Task].Closure, p) {
				t.Fatalf("the task's closure %v lacks %s", w.s.Tasks[r.Caller.Task].Closure, p)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%v; want %v", got, want)
		}
	}
	each(t, remit.Team, []row{
		{"requester, launcher and owner", func(t *testing.T, w *world) {
			id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
			c := w.launch(id, "coder", "p-mia")
			contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-mia", "p-noa")
		}},
		{"an owner of before, if they owned it since the task was requested", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-sam" })
			c := w.task("coder", "p-noa")
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
			if got := w.s.Tasks[c.Task].Closure; !slices.Contains(got, "p-tom") {
				t.Fatal(got)
			}
			contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-ada", "p-noa", "p-sam", "p-tom")
		}},
		{"pusher, their agent's owner, and signer", func(t *testing.T, w *world) {
			id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
			c := w.launch(id, "coder", "p-noa")
			entry := w.allow(push(c, branch(c, "x"), "1")).Entry
			w.apply(func(s *authority.Set) {
				s.Agents = append(slices.Clone(s.Agents), remit.AgentDeclared{Name: "coder-2", Function: remit.FuncCode, Owner: "p-bob", Requesters: []string{"release"},
					Entitlements: s.Agents[0].Entitlements})
			})
			c = w.task("coder-2", "p-sam")
			r := push(c, branch(c, "x"), "1", workflow)
			r.Refs[0].Pushers, r.Refs[0].Signers = []remit.EntryIndex{entry}, []remit.ID{"p-tom"}
			contains(t, w, r, "p-bob", "p-mia", "p-noa", "p-sam", "p-tom")
		}},
		{"nobody by what they changed before the task was requested", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Repositories[0].Path = "other.git" })
			c := w.task("coder", "p-mia")
			contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-mia")
		}},
	})
	for name, change := range map[string]func(*authority.Set){
		"the agent": func(s *authority.Set) { s.Agents[0].Review = 1 },
		"the repository": func(s *authority.Set) {
			s.Repositories[0].Protected = append(slicesOf(s.Repositories[0].Protected), "x/**")
		},
		"a deciding group":  func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-noa", "p-rio"} },
		"a deciding person": func(s *authority.Set) { s.People[4].Keys = s.People[4].Keys[:1] },
		"the policy":        func(s *authority.Set) { s.Policy = secret },
	} {
		t.Run("whoever changed "+name+" since", func(t *testing.T) {
			w := newWorld(t, remit.Team)
			c := w.task("coder", "p-mia")
			w.apply(change)
			contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-ada", "p-mia")
			contains(t, w, push(c, branch(c, "y"), "1", workflow), "p-ada", "p-mia")
		})
	}
	t.Run("whoever killed a deciding person since", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-mia")
		w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-rio"})
		contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-bob", "p-mia")
	})
	t.Run("whoever took the repository out and put it back", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-mia")
		repos := w.set.Repositories
		w.set = clone(w.set)
		w.set.Repositories = repos[1:]
		w.must(&authority.ApplySet{By: "p-bob", Set: w.set})
		w.apply(func(s *authority.Set) { s.Repositories = repos })
		contains(t, w, push(c, branch(c, "x"), "1", workflow), "p-ada", "p-bob", "p-mia")
	})
	t.Run("whoever took the environment out, put it back, or changed it", func(t *testing.T) {
		w := supplied(t)
		c := w.task("pilot", "p-mia")
		envs := w.set.Environments
		w.set = clone(w.set)
		w.set.Environments = envs[:1]
		w.must(&authority.ApplySet{By: "p-bob", Set: w.set})
		w.apply(func(s *authority.Set) { s.Environments = envs })
		id := w.hold(w.deployment(c, staging, built("a")), remit.ImpactHeld, remit.Need{Group: "release", N: 1})
		if got := fmt.Sprint(w.s.Accesses[id].Closure); got != "[p-ada p-bob p-mia]" {
			t.Fatal(got)
		}
	})
	t.Run("the closure names people by id, and the card tells what was decided on", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-mia")
		before := *w.s
		id, _ := held(w, c)
		a := w.s.Accesses[id]
		if got := before.CardOf(&a.AccessOpened, "coder", c.Instance, []string{"protected"}).Digest(); got != a.Card {
			t.Fatal("the card cannot be shown again")
		}
		if !strings.HasPrefix(string(id), "A-") {
			t.Fatal(id)
		}
	})
}
