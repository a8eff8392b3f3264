package authority_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestGenesis(t *testing.T) {
	good := authority.Init{Org: "acme", Origin: "log", Profile: remit.Team, Policy: bundle, Admins: []remit.PersonDeclared{person("ada", touch("ada"))}}
	for name, change := range map[string]func(*authority.Init){
		"an organisation":     func(c *authority.Init) { c.Org = "" },
		"an origin":           func(c *authority.Init) { c.Origin = "" },
		"a policy":            func(c *authority.Init) { c.Policy = remit.Digest{} },
		"administrators":      func(c *authority.Init) { c.Admins = nil },
		"a profile":           func(c *authority.Init) { c.Profile = "lax" },
		"a key":               func(c *authority.Init) { c.Admins = []remit.PersonDeclared{person("ada")} },
		"an id":               func(c *authority.Init) { c.Admins[0].ID = "" },
		"a key that is one":   func(c *authority.Init) { c.Admins[0].Keys = []remit.Key{{Public: []byte("x")}} },
		"each key once":       func(c *authority.Init) { c.Admins = append(c.Admins, person("bob", touch("ada"))) },
		"each person once":    func(c *authority.Init) { c.Admins = append(c.Admins, person("ada", touch("bob"))) },
		"a list in one entry": func(c *authority.Init) { c.Verifier = strings.Repeat("v", 9000) },
	} {
		t.Run("it needs "+name, func(t *testing.T) {
			c := good
			c.Admins = slices.Clone(c.Admins)
			change(&c)
			if _, _, err := authority.Decide(authority.New(), start, &c); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	w := newWorld(t, remit.Team)
	w.refuse(&good, remit.Conflict, "already has a genesis")
	if _, _, err := authority.Decide(authority.New(), start, &authority.Tick{}); err == nil {
		t.Fatal("a log begins with genesis")
	}
	if !w.s.IsAdmin("p-ada") || !w.s.IsAdmin("p-bob") || w.s.IsAdmin("p-mia") || w.s.IsAdmin("") {
		t.Fatal("administrators")
	}
}

func TestTask(t *testing.T) {
	each(t, remit.Team, []row{
		{"a task is requested by those who may", func(t *testing.T, w *world) {
			w.refuse(&authority.CreateTask{By: "p-eve", Agent: "coder"}, remit.UnknownPrincipal, "declared person")
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "nobody"}, remit.UnknownPrincipal, "no agent")
			w.refuse(&authority.CreateTask{By: "p-sam", Agent: "coder"}, remit.Forbidden, "[devs]")
			w.must(&authority.CreateTask{By: "p-mia", Agent: "coder"})
			w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"})
			w.must(&authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentSuspended})
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder"}, remit.NotLive, "is suspended")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			w.refuse(&authority.CreateTask{By: "p-noa", Agent: "merger"}, remit.UnknownPrincipal, "declared person")
			w.apply(without("p-tom"))
			w.refuse(&authority.CreateTask{By: "p-tom", Agent: "merger"}, remit.UnknownPrincipal, "declared person")
		}},
		{"no task is requested of an agent whose owner has left", func(t *testing.T, w *world) {
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.refuse(&authority.CreateTask{By: "p-noa", Agent: "coder"}, remit.NotLive, "its owner has left")
		}},
		{"its limits are checked", func(t *testing.T, w *world) {
			for _, c := range []authority.CreateTask{
				{For: int64(time.Second - 1)}, {For: int64(24*time.Hour + 1)},
				{Budget: remit.Budget{Decisions: -1}}, {Budget: remit.Budget{Decisions: 10_001}}, {Budget: remit.Budget{Holds: -1}},
				{Budget: remit.Budget{Holds: 4}}, {Budget: remit.Budget{Bytes: -1}}, {Budget: remit.Budget{Bytes: 4<<30 + 1}},
				{Envelope: remit.Envelope{Refs: []remit.Pattern{"main"}}}, {Envelope: remit.Envelope{Paths: []remit.Pattern{"**/x"}}},
				{Envelope: remit.Envelope{Paths: []remit.Pattern{"a//b"}}}, {Envelope: remit.Envelope{MaxBytes: -1}}, {Envelope: remit.Envelope{MaxCommits: -1}},
				{Scope: []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"payments"}}}},
				{Scope: []remit.Scope{{Actions: []remit.Action{"source.push"}, Refs: []remit.Pattern{"refs/*/x"}}}},
			} {
				c.By, c.Agent = "p-mia", "coder"
				w.refuse(&c, remit.BadRequest, "")
			}
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder", Scope: []remit.Scope{{Actions: []remit.Action{"source.fly"}}}}, remit.UnknownAction, "source.fly")
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder", Scope: []remit.Scope{{Actions: []remit.Action{"deploy.promote"}, Resources: []remit.Pattern{"environment:payments/**"}}}}, remit.OutOfScope, "nothing that was asked for")
			var wide []remit.Pattern
			for i := range 200 {
				wide = append(wide, remit.Pattern(fmt.Sprintf("refs/heads/remit/{task}/%d/%s", i, strings.Repeat("x", 50))))
			}
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder", Envelope: remit.Envelope{Refs: wide}}, remit.TooLargeToJudge, "task.created takes")
			w.must(&authority.CreateTask{By: "p-mia", Agent: "coder", For: int64(time.Second), Budget: remit.Budget{Decisions: 10_000, Holds: 3, Bytes: 4 << 30}})
			w.must(&authority.CreateTask{By: "p-mia", Agent: "coder", For: int64(24 * time.Hour)})
			id := w.must(&authority.CreateTask{By: "p-mia", Agent: "coder"}).ID
			if w.s.Tasks[id].Deadline != w.now.Add(8*time.Hour).UnixNano() {
				t.Fatal("eight hours by default")
			}
		}},
		{"the grant is what was asked for within the entitlement", func(t *testing.T, w *world) {
			grant := func(scopes ...remit.Scope) string {
				id := w.must(&authority.CreateTask{By: "p-mia", Agent: "coder", Scope: scopes}).ID
				return strings.ReplaceAll(fmt.Sprint(w.s.Tasks[id].Grant), string(id), "T")
			}
			push := []remit.Action{"source.push", "issue.comment", "source.push"}
			for _, r := range []struct {
				ask  remit.Scope
				want string
			}{
				{remit.Scope{Actions: push, Resources: []remit.Pattern{"repo:forge/**"}}, "[{[source.push] [repo:forge/acme/*] [refs/heads/remit/T/**] [] 0 0}]"},
				{remit.Scope{Actions: push, Resources: []remit.Pattern{"repo:forge/acme/docs", "repo:other/x"}, Refs: []remit.Pattern{"refs/heads/remit/{task}/a", "refs/heads/main"}, Paths: []remit.Pattern{"src/**"}, MaxBytes: 5, MaxCommits: 6},
					"[{[source.push] [repo:forge/acme/docs] [refs/heads/remit/T/a] [src/**] 5 6}]"},
			} {
				if got := grant(r.ask); got != r.want {
					t.Errorf("%s; want %s", got, r.want)
				}
			}
			w.apply(func(s *authority.Set) {
				s.Agents[0].Entitlements = []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/acme/docs"}, Refs: []remit.Pattern{"refs/heads/**"}, Paths: []remit.Pattern{"src/**"}, MaxBytes: 5, MaxCommits: 6}}
			})
			if got := grant(); got != "[{[source.push] [repo:forge/acme/docs] [refs/heads/**] [src/**] 5 6}]" {
				t.Error(got)
			}
			if got := grant(remit.Scope{Actions: push, Resources: []remit.Pattern{"repo:forge/**"}, Paths: []remit.Pattern{"src/a"}, MaxBytes: 9, MaxCommits: 9}); got != "[{[source.push] [repo:forge/acme/docs] [refs/heads/remit/T/**] [src/a] 5 6}]" {
				t.Error(got)
			}
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder", Scope: []remit.Scope{{Actions: push, Resources: []remit.Pattern{"repo:forge/**"}, Paths: []remit.Pattern{"doc/**"}}}}, remit.OutOfScope, "nothing")
			w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder", Scope: []remit.Scope{{Actions: push, Resources: []remit.Pattern{"repo:forge/**"}, Refs: []remit.Pattern{"refs/tags/**"}}}}, remit.OutOfScope, "nothing")
		}},
		{"it ends by those who may end it, once", func(t *testing.T, w *world) {
			c := w.task("coder", "p-noa")
			end := func(by remit.ID, s remit.TaskStatus) *authority.EndTask {
				return &authority.EndTask{By: by, Task: c.Task, Status: s}
			}
			w.refuse(&authority.EndTask{By: "p-noa", Task: "T-0"}, remit.NotFound, "no task")
			w.refuse(end("p-noa", remit.TaskKilled), remit.BadRequest, "completed or cancelled")
			w.refuse(end("p-sam", remit.TaskCancelled), remit.Forbidden, "is ended by")
			w.refuse(&authority.EndTask{Instance: c.Instance, Task: c.Task, Status: remit.TaskCancelled}, remit.Forbidden, "is ended by")
			other := w.task("coder", "p-noa")
			w.refuse(&authority.EndTask{Instance: other.Instance, Task: c.Task, Status: remit.TaskCompleted}, remit.Forbidden, "is ended by")
			w.refuse(&authority.EndTask{By: "p-sam", Instance: c.Instance, Task: c.Task, Status: remit.TaskCompleted}, remit.Forbidden, "is ended by")
			w.must(end("p-mia", remit.TaskCompleted))
			w.refuse(end("p-ada", remit.TaskCancelled), remit.NotLive, "already ended: completed")
			c = other
			w.must(end("p-ada", remit.TaskCancelled))
		}},
		{"an instance is started by requester or owner, on a live task", func(t *testing.T, w *world) {
			id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
			st := authority.StartInstance{By: "p-noa", Task: id, Confinement: remit.ConfineHost, Secret: secret}
			bad := st
			bad.By = "p-sam"
			w.refuse(&bad, remit.Forbidden, "requester or its agent's owner")
			bad = st
			bad.Confinement = "jail"
			w.refuse(&bad, remit.BadRequest, "confinement")
			bad = st
			bad.Secret = remit.Digest{}
			w.refuse(&bad, remit.BadRequest, "secret")
			for _, names := range [][]string{make([]string, 33), {""}, {strings.Repeat("X", 65)}, {"A\nB"}} {
				bad = st
				bad.Ungoverned = names
				w.refuse(&bad, remit.BadRequest, "at most 32 variables")
			}
			w.must(&st)
			for _, names := range [][]string{{"GH_TOKEN"}, {"AWS_SECRET", "GH_TOKEN"}} {
				more := st
				more.Ungoverned = names
				i := w.must(&more).ID
				r := step(caller{Instance: i, Agent: "coder", Task: id}, "source.read", payments)
				if f := authority.FactsOf(w.s, r, w.now.UnixNano()); !f.Instance.Ungoverned {
					t.Fatal("a task that was handed credentials past Remit is ungoverned")
				}
			}
			if got := fmt.Sprint(w.s.Tasks[id].Ungoverned); got != "[AWS_SECRET GH_TOKEN]" {
				t.Fatal(got)
			}
			st.By = "p-mia"
			w.must(&st)
			w.must(&authority.EndTask{By: "p-noa", Task: id, Status: remit.TaskCancelled})
			w.refuse(&st, remit.NotLive, "has ended")
		}},
	})
}

func TestKill(t *testing.T) {
	each(t, remit.Team, []row{
		{"by those who may", func(t *testing.T, w *world) {
			c := w.task("coder", "p-noa")
			for _, k := range []authority.Kill{{What: "task", ID: "T-0"}, {What: "agent", ID: "x"}, {What: "person", ID: "p-x"}} {
				k.By = "p-ada"
				w.refuse(&k, remit.NotFound, "there is no")
			}
			w.refuse(&authority.Kill{By: "p-ada", What: "house", ID: "x"}, remit.BadRequest, "a task, an agent or a person")
			w.refuse(&authority.Kill{By: "p-sam", What: "task", ID: c.Task}, remit.Forbidden, "is killed by")
			w.refuse(&authority.Kill{By: "p-noa", What: "agent", ID: "coder"}, remit.Forbidden, "is killed by")
			w.refuse(&authority.Kill{By: "p-noa", What: "person", ID: "p-mia"}, remit.Forbidden, "by themselves")
			w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
			w.refuse(&authority.Kill{By: "p-ada", What: "person", ID: "p-ada"}, remit.Conflict, "last administrator")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.refuse(&authority.Kill{By: "p-mia", What: "agent", ID: "coder"}, remit.Forbidden, "is killed by")
			w.refuse(&authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentRetired}, remit.Forbidden, "its owner or an administrator")
			w.refuse(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentActive}, remit.Conflict, "already active")
			w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "coder"})
			w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "coder"})
			w.refuse(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentActive}, remit.Conflict, "has left")
		}},
		{"a person's kill ends what they requested, own, launched and asked for, each once", func(t *testing.T, w *world) {
			mine := w.task("coder", "p-noa")
			held(w, mine)
			theirs := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
			launched := w.launch(theirs, "coder", "p-mia")
			id := w.hold(push(launched, branch(launched, "x"), "1", workflow), remit.PathProtected)
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
			w.must(&authority.Kill{By: "p-mia", What: "person", ID: "p-mia"})
			w.status(id, remit.AccessVoid, remit.Dropped)
			if w.s.Instances[launched.Instance] != nil || !w.s.LiveTasks[theirs] || !w.s.LiveTasks[mine.Task] || w.s.Tasks[theirs].Status != remit.TaskOpen {
				t.Fatal("what mia launched ends, what noa asked for goes on")
			}
			w.set = clone(w.set)
			w.set.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			asked := w.must(&authority.ApplySet{By: "p-bob", Set: w.set}).Decision.Access
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
			w.status(asked, remit.AccessVoid, remit.Dropped)
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			if len(w.s.LiveTasks) != 0 {
				t.Fatal(w.s.LiveTasks)
			}
		}},
		{"a work order dies with who launched it, also when its permit is out", func(t *testing.T, w *world) {
			for _, late := range []bool{false, true} {
				w := newWorld(t, remit.Team)
				id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
				c := w.launch(id, "coder", "p-mia")
				h := w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
				w.vote(h, "rio", touch("rio"), true)
				w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
				var permit remit.ID
				if late {
					permit = w.allow(w.claim(h, push(c, branch(c, "x"), "1", workflow))).Permit.ID
				}
				w.must(&authority.EndInstance{Instance: c.Instance})
				w.must(&authority.Kill{By: "p-mia", What: "person", ID: "p-mia"})
				w.status(h, remit.AccessVoid, remit.Dropped)
				if late {
					w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "has ended")
				}
				if w.s.LiveTasks[id] {
					t.Fatal("it waits for nothing")
				}
			}
		}},
		{"an agent is suspended, resumed and retired", func(t *testing.T, w *world) {
			to := func(by remit.ID, s remit.AgentStatus) *authority.ChangeAgent {
				return &authority.ChangeAgent{By: by, Agent: "coder", To: s}
			}
			w.refuse(&authority.ChangeAgent{By: "p-ada", Agent: "x"}, remit.NotFound, "no agent")
			w.refuse(to("p-noa", remit.AgentSuspended), remit.Forbidden, "its owner or an administrator")
			w.refuse(to("p-mia", "gone"), remit.BadRequest, "active, suspended or retired")
			w.refuse(to("p-mia", remit.AgentActive), remit.Conflict, "already active")
			w.must(to("p-mia", remit.AgentSuspended))
			w.must(to("p-mia", remit.AgentActive))
			w.apply(func(s *authority.Set) { s.Agents[0].Expires = w.now.Unix() + 1 })
			w.must(to("p-ada", remit.AgentSuspended))
			w.refuse(to("p-mia", remit.AgentActive), remit.Conflict, "has expired")
			w.must(to("p-ada", remit.AgentRetired))
			w.refuse(to("p-ada", remit.AgentActive), remit.Conflict, "for good")
		}},
		{"denials are counted and the clock is confirmed", func(t *testing.T, w *world) {
			w.refuse(&authority.CountDenials{Entry: w.s.Next, Count: 1}, remit.BadRequest, "not a denial")
			w.refuse(&authority.CountDenials{Entry: 0, Count: 0}, remit.BadRequest, "not a denial")
			w.must(&authority.CountDenials{Entry: 0, Count: 1})
			w.refuse(&authority.ConfirmClock{By: "p-mia"}, remit.Forbidden, "administrator")
			w.must(&authority.ConfirmClock{By: "p-ada"})
			now := w.now
			events, _, err := authority.Decide(w.s, now.Add(-time.Hour), &authority.CreateTask{By: "p-mia", Agent: "coder"})
			if err != nil || events[0].(*remit.TaskCreated).Deadline != w.s.Now+int64(8*time.Hour) {
				t.Fatal("time runs backwards", err)
			}
			if _, _, err := authority.Decide(w.s, now, nil); err == nil {
				t.Fatal("no command is no command")
			}
		}},
	})
}

func TestApply(t *testing.T) {
	each(t, remit.Team, []row{
		{"administrators only, and a set that is in force changes nothing", func(t *testing.T, w *world) {
			w.refuse(&authority.ApplySet{By: "p-mia", Set: w.set}, remit.Forbidden, "administrators")
			n := len(w.log)
			again := clone(w.set) // what a reader of JSON makes of what is not there
			again.Repositories[1].Approvers, again.Repositories[1].Effects = []remit.Need{}, []remit.Effect{}
			again.Agents[1].Entitlements = slicesOf(again.Agents[1].Entitlements)
			again.Agents[1].Entitlements[0].Paths = []remit.Pattern{}
			w.must(&authority.ApplySet{By: "p-ada", Set: again})
			if c, err := authority.Diff(w.s, &again); err != nil || len(c) != 0 || len(w.log) != n {
				t.Fatal(c, err)
			}
		}},
		{"what widens waits for the second administrator, once", func(t *testing.T, w *world) {
			w.set = clone(w.set)
			w.set.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			res := w.must(&authority.ApplySet{By: "p-ada", Set: w.set})
			id := res.Decision.Access
			if res.Decision.Verdict != remit.Hold || res.Decision.Code != remit.ControlWidens || len(res.Changes) != 1 || w.s.Accesses[id].Zone != remit.ZoneControl {
				t.Fatal(res)
			}
			if again := w.must(&authority.ApplySet{By: "p-ada", Set: w.set}).Decision.Access; again != id {
				t.Fatal("asked twice")
			}
			own := w.must(&authority.ApplySet{By: "p-bob", Set: w.set}).Decision.Access
			if own == id || w.s.Accesses[own].By != "p-bob" {
				t.Fatal("bob asks for himself, and does not wait for what ada asked")
			}
			w.refuse(&authority.ApplySet{By: "p-ada", Set: w.set, Access: id}, remit.AlreadyUsed, "not an approval")
			w.refuse(&authority.ApplySet{By: "p-ada", Set: w.set, Access: "A-0"}, remit.AlreadyUsed, "not an approval")
			w.refuse(w.ballot(id, "ada", touch("ada"), true), remit.NotEligible, "caused or steered")
			w.refuse(w.ballot(id, "mia", touch("mia"), true), remit.NotEligible, "none of the groups")
			w.vote(id, "bob", touch("bob"), true)
			w.refuse(&authority.ApplySet{By: "p-bob", Set: w.set, Access: id}, remit.AlreadyUsed, "not an approval")
			c := w.claim(id, step(w.task("coder", "p-mia"), "source.read", payments))
			c.Caller.Task = ""
			w.deny(c, remit.UnknownPrincipal, "only an executor")
			w.status(id, remit.AccessMet, "")
			w.must(&authority.ApplySet{By: "p-ada", Set: w.set, Access: id})
			w.status(id, remit.AccessUsed, "")
			if len(w.s.Agents["coder"].MayRequest) != 1 {
				t.Fatal("not in force")
			}
		}},
		{"an approval is for one set on top of one set, in its time, by those who still may", func(t *testing.T, w *world) {
			ask := func() (remit.ID, authority.Set) {
				s := clone(w.set)
				s.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
				id := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision.Access
				w.vote(id, "bob", touch("bob"), true)
				return id, s
			}
			id, s := ask()
			s.Agents[0].MayRequest = []remit.Function{remit.FuncDeploy}
			if res := w.must(&authority.ApplySet{By: "p-ada", Set: s, Access: id}); res.Decision.Code != remit.Stale {
				t.Fatal(res)
			}
			w.status(id, remit.AccessVoid, remit.Stale)
			id, s = ask()
			w.apply(func(s *authority.Set) { s.Agents[1].Review = 9 })
			if res := w.must(&authority.ApplySet{By: "p-ada", Set: s, Access: id}); res.Decision.Code != remit.Stale {
				t.Fatal(res)
			}
			id, s = ask()
			w.later(24 * time.Hour)
			w.refuse(&authority.ApplySet{By: "p-ada", Set: s, Access: id}, remit.AlreadyUsed, "not an approval")
			if again := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision.Access; again == id {
				t.Fatal("a request whose time is over answers")
			}
			w.tick()
			id, s = ask2(w, s)
			w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
			if res := w.must(&authority.ApplySet{By: "p-ada", Set: s, Access: id}); res.Decision.Verdict != remit.Hold {
				t.Fatal(res)
			}
			w.status(id, remit.AccessOpen, "")
		}},
		{"without an administrator who can vote it is refused, without a second one it is in force", func(t *testing.T, w *world) {
			s := clone(w.set)
			s.People[1].Keys = []remit.Key{key(touch("bob 2"))}
			id := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision.Access
			w.vote(id, "bob", touch("bob"), true)
			w.must(&authority.ApplySet{By: "p-ada", Set: s, Access: id})
			s.Agents = slices.Clone(s.Agents)
			s.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			w.refuse(&authority.ApplySet{By: "p-ada", Set: s}, remit.NoApprover, "none of them has a key that counts")
			w.later(24 * time.Hour)
			if d := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision; d.Verdict != remit.Hold {
				t.Fatal(d)
			}
			w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
			w.must(&authority.ApplySet{By: "p-ada", Set: s})
			if len(w.s.Agents["coder"].MayRequest) != 1 {
				t.Fatal("not in force")
			}
		}},
		{"an agent, a group and a person leave; the name of an agent is never used again", func(t *testing.T, w *world) {
			agent := w.set.Agents[0]
			w.apply(func(s *authority.Set) {
				s.Agents = s.Agents[1:]
				s.Groups = s.Groups[:3]
				s.Environments = nil
				s.Repositories = nil
				s.Upstreams = nil
			})
			if w.s.Agents["coder"].Status != remit.AgentRetired || len(w.s.Groups["release"].Members) != 0 || len(w.s.Repositories)+len(w.s.Environments)+len(w.s.Upstreams) != 0 {
				t.Fatal("still there")
			}
			s := clone(w.set)
			s.Agents = append(s.Agents, agent)
			_, err := authority.Diff(w.s, &s)
			var e *remit.DeclarationError
			if !errors.As(err, &e) || e.Path != "agents[3].name" || !strings.Contains(e.Error(), "never used again") {
				t.Fatal(err)
			}
		}},
	})
}

func ask2(w *world, s authority.Set) (remit.ID, authority.Set) {
	id := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision.Access
	w.vote(id, "bob", touch("bob"), true)
	return id, s
}
