package authority_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
)

// history plays random commands against a world and lets the judge read along.
type history struct {
	*world
	r        *rapid.T
	check    *judge.Judge
	read     int
	callers  []caller
	requests map[remit.ID]remit.Request // by access request
	sets     map[remit.ID]authority.Set
	wishes   map[remit.Digest]remit.Child // that were asked for
	pushes   []remit.EntryIndex
}

var names = []string{"ada", "bob", "mia", "noa", "rio", "sam", "tom"}

func pick[T any](r *rapid.T, what string, from []T) T { return rapid.SampledFrom(from).Draw(r, what) }

func (h *history) person() remit.ID { return remit.ID("p-" + pick(h.r, "person", names)) }

func (h *history) key(name string) ssh.Signer {
	if rapid.Bool().Draw(h.r, "touch") {
		return touch(name)
	}
	return soft(name)
}

// ids are the keys of a map of the state, in order.
func ids[V any](m map[remit.ID]V) []remit.ID {
	var out []remit.ID
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// try sends a command; a refusal is as good as anything, an odd error is not.
func (h *history) try(c authority.Command) authority.Result {
	h.t.Helper()
	res, err := h.do(c)
	var e *remit.Error
	var d *remit.DeclarationError
	if err != nil && (!errors.As(err, &e) || e.Code == remit.Internal) && !errors.As(err, &d) {
		h.t.Fatalf("%T: %v", c, err)
	}
	for ; h.read < len(h.log); h.read++ {
		l := h.log[h.read]
		if wrong := h.check.Read(remit.EntryIndex(h.read), time.Unix(0, l.at), l.event); wrong != nil {
			h.t.Fatalf("%s: %+v", wrong, l.event)
		}
	}
	return res
}

func (h *history) ask(r remit.Request) {
	res := h.try(&authority.Authorize{Request: r, Hash: remit.Hash(secret[:])})
	if d := res.Decision; d.Verdict == remit.Allow && len(r.Refs) > 0 {
		h.pushes = append(h.pushes, d.Entry)
	} else if d.Verdict == remit.Hold {
		h.requests[d.Access] = r
	}
}

// someone is a caller: mostly one that runs, sometimes one that lies.
func (h *history) someone() (caller, bool) {
	if len(h.callers) == 0 {
		return caller{}, false
	}
	c := pick(h.r, "caller", h.callers)
	if rapid.IntRange(0, 19).Draw(h.r, "lie") == 0 {
		c.Task = pick(h.r, "caller", h.callers).Task
	}
	return c, true
}

func (h *history) push() {
	c, ok := h.someone()
	if !ok {
		return
	}
	ref := pick(h.r, "ref", []string{branch(c, "x"), branch(c, "y"), "refs/heads/main", "refs/heads/topic"})
	r := push(c, ref, pick(h.r, "tip", []string{"1", "2", "3"}), pick(h.r, "path", []string{"src/a", workflow, "deploy/x"}))
	if c.Agent == "merger" {
		r.Steps[0].Action = "source.merge"
	}
	if c.Agent == "critic" || c.Agent == "critic2" {
		r.Steps[0].Action, r.Review = "review.submit", pick(h.r, "review", []string{remit.ReviewApprove, remit.ReviewApprove, remit.ReviewReject})
	}
	r.Steps[0].Resource = pick(h.r, "repository", []remit.Resource{payments, payments, docs})
	r.Bytes = int64(pick(h.r, "bytes", []int{1, 1000}))
	r.Refs[0].Commits = pick(h.r, "commits", []int{1, 3})
	r.Refs[0].Op = pick(h.r, "op", []remit.RefOp{remit.RefCreate, remit.RefUpdate, remit.RefForce, remit.RefDelete})
	if len(h.pushes) > 0 && rapid.Bool().Draw(h.r, "pushed before") {
		r.Refs[0].Pushers = []remit.EntryIndex{pick(h.r, "pusher", h.pushes)}
	}
	if rapid.IntRange(0, 4).Draw(h.r, "signed") == 0 {
		r.Refs[0].Signers = []remit.ID{h.person()}
	}
	if rapid.IntRange(0, 4).Draw(h.r, "pinned") == 0 {
		r.Refs[0].Pinned = paths(workflow)
	}
	r.Preview = rapid.IntRange(0, 9).Draw(h.r, "preview") == 0
	if !r.Preview {
		h.ask(r)
	}
}

func (h *history) other() {
	if c, ok := h.someone(); ok {
		s := pick(h.r, "step", []remit.Step{{Action: "source.read", Resource: payments},
			{Action: "deploy.read", Resource: staging}, {Action: "probe.privileged", Resource: "probe:canary"}, {Action: "probe.write", Resource: "probe:canary"}, {Action: "secret.read", Resource: "secret:vault/db"}})
		h.ask(step(c, s.Action, s.Resource))
	}
}

func (h *history) newTask() {
	c := &authority.CreateTask{Agent: pick(h.r, "agent", []string{"coder", "coder", "merger", "critic", "critic2", "pilot"}), By: pick(h.r, "requester", []remit.ID{"p-mia", "p-noa", "p-ada", "p-sam"})}
	c.For = pick(h.r, "for", []int64{0, int64(10 * time.Minute), int64(24 * time.Hour)})
	c.Budget.Holds = pick(h.r, "holds", []int{0, 1})
	if rapid.IntRange(0, 2).Draw(h.r, "scope") == 0 {
		c.Scope = []remit.Scope{{Actions: []remit.Action{"source.push", "deploy.promote", "source.merge"}, Resources: []remit.Pattern{"repo:forge/**", "environment:payments/staging"},
			Refs: pick(h.r, "refs", [][]remit.Pattern{nil, {"refs/heads/**"}, {"refs/heads/main"}}), MaxBytes: pick(h.r, "bytes", []int64{0, 500}), MaxCommits: pick(h.r, "commits", []int{0, 2})}}
	}
	if rapid.IntRange(0, 3).Draw(h.r, "envelope") == 0 {
		c.Envelope.Paths = []remit.Pattern{"src/**"}
	}
	if id := h.try(c).ID; id != "" {
		h.start(id)
	}
}

func (h *history) start(task remit.ID) {
	t := h.s.Tasks[task]
	by := pick(h.r, "launcher", []remit.ID{t.Requester, h.s.Agents[t.Agent].Owner, "p-tom"})
	i := h.try(&authority.StartInstance{By: by, Task: task, Confinement: pick(h.r, "confinement", []remit.Confinement{remit.ConfineNone, remit.ConfineUID}), Secret: secret, Host: host}).ID
	if i != "" {
		h.callers = append(h.callers, caller{Instance: i, Agent: t.Agent, Task: task})
	}
}

func (h *history) cast() {
	open := ids(h.s.OpenHolds)
	if len(open) == 0 {
		return
	}
	id, voter := pick(h.r, "request", open), pick(h.r, "voter", names)
	b := h.ballot(id, voter, h.key(voter), rapid.IntRange(0, 3).Draw(h.r, "approve") > 0)
	b.Loopback = rapid.IntRange(0, 3).Draw(h.r, "loopback") == 0
	h.try(b)
}

func (h *history) claimOne() {
	open := ids(h.s.OpenHolds)
	if len(open) == 0 {
		return
	}
	id := pick(h.r, "request", open)
	if set, ok := h.sets[id]; ok {
		h.putInForce(pick(h.r, "admin", []remit.ID{"p-ada", "p-bob"}), set, id)
	} else if r, ok := h.requests[id]; ok {
		r = h.order(id, r)
		if rapid.IntRange(0, 3).Draw(h.r, "wrong executor") == 0 {
			r.Caller.Executor = pick(h.r, "executor", []string{"executor/source", "executor/build", "executor/production"})
		}
		h.ask(r)
	}
}

// carry takes a hold all the way, if people agree.
func (h *history) carry() {
	open := ids(h.s.OpenHolds)
	if len(open) == 0 {
		return
	}
	id := pick(h.r, "request", open)
	may, _ := h.s.Eligible(id, h.now.UnixNano())
	for _, p := range may {
		if h.s.Accesses[id].Status == remit.AccessOpen {
			name := string(p[2:])
			h.try(h.ballot(id, name, h.key(name), true))
		}
	}
	if h.s.Profile == remit.Solo {
		h.later(6 * time.Minute)
		h.try(&authority.Tick{})
	}
	if r, ok := h.requests[id]; ok && rapid.IntRange(0, 3).Draw(h.r, "go on") > 0 {
		h.ask(h.order(id, r))
		h.spend()
		h.record()
	}
}

func (h *history) spend() {
	if p := ids(h.s.Permits); len(p) > 0 {
		h.try(&authority.Redeem{Permit: pick(h.r, "permit", p), Proof: remit.Hash(secret[:]), Hash: proof})
	}
}

func (h *history) record() {
	if a := ids(h.s.Attempts); len(a) > 0 {
		h.try(&authority.Record{Attempt: pick(h.r, "attempt", a), Outcome: pick(h.r, "outcome", []remit.Outcome{remit.Done, remit.NotApplied, remit.Ambiguous}),
			Code: pick(h.r, "code", []remit.Code{"", "", remit.Stale}), Made: pick(h.r, "made", []string{"", oid("3")})})
	}
}

func (h *history) declare() {
	s := clone(h.set)
	switch rapid.IntRange(0, 10).Draw(h.r, "change") {
	case 9:
		s.Repositories[0].Reviews = rapid.IntRange(0, 2).Draw(h.r, "reviews")
	case 10:
		s.Environments[0].Evidence = pick(h.r, "evidence", [][]string{nil, {"merged"}, {"deployed:payments/staging"}})
		s.Environments[1].Evidence = pick(h.r, "evidence", [][]string{nil, {"built"}})
	case 0:
		s.Agents[0].Owner = h.person()
	case 1:
		s.Groups[2].Members = []remit.ID{h.person(), h.person(), "p-tom"}
	case 2:
		s.Groups[3].Asks = pick(h.r, "asks", []remit.Asks{{}, {}, {Most: 1, Hours: 1}, {Most: 3, Hours: 2}})
		s.Groups[3].Members = []remit.ID{h.person(), "p-rio", "p-sam"}
	case 3:
		s.Repositories[0].Approvers = []remit.Need{{Group: pick(h.r, "group", []string{"reviewers", "release"}), N: rapid.IntRange(1, 2).Draw(h.r, "n")}}
		if n := &s.Repositories[0].Approvers[0]; rapid.Bool().Draw(h.r, "evidence") {
			n.Evidence, n.InProduction = pick(h.r, "instead", []string{"verdict", "verdict", "verdict:2", "verdict+built"}), rapid.Bool().Draw(h.r, "in production")
		}
	case 4:
		s.Agents[0].Entitlements = s.Agents[0].Entitlements[:1]
	case 5:
		s.People[4].Keys = s.People[4].Keys[:1]
	case 6:
		s.Repositories[0].Effects = s.Repositories[0].Effects[:rapid.IntRange(0, len(s.Repositories[0].Effects)).Draw(h.r, "effects")]
	case 7:
		s.Agents[1].Expires = h.now.Unix() + int64(rapid.IntRange(1, 600).Draw(h.r, "expires"))
	case 8:
		without(h.person())(&s)
	}
	h.putInForce(pick(h.r, "admin", []remit.ID{"p-ada", "p-bob", "p-mia"}), s, "")
}

func (h *history) putInForce(by remit.ID, s authority.Set, access remit.ID) {
	n := len(h.log)
	res := h.try(&authority.ApplySet{By: by, Set: s, Access: access})
	if res.Decision.Verdict == remit.Hold {
		h.sets[res.Decision.Access] = s
	}
	for _, l := range h.log[n:] {
		if _, ok := l.event.(*remit.Applied); ok {
			h.set = s
		}
	}
}

func (h *history) end() {
	switch rapid.IntRange(0, 5).Draw(h.r, "end") {
	case 0, 1:
		if i := ids(h.s.Instances); len(i) > 0 {
			h.try(&authority.EndInstance{Instance: pick(h.r, "instance", i)})
		}
	case 2:
		if t := ids(h.s.Tasks); len(t) > 0 {
			h.try(&authority.EndTask{By: h.person(), Task: pick(h.r, "task", t), Status: pick(h.r, "status", []remit.TaskStatus{remit.TaskCompleted, remit.TaskCancelled})})
		}
	case 3:
		if t := ids(h.s.Tasks); len(t) > 0 {
			h.try(&authority.Kill{By: h.person(), What: "task", ID: pick(h.r, "task", t)})
		}
	case 4:
		h.try(&authority.ChangeAgent{By: h.person(), Agent: pick(h.r, "agent", []string{"coder", "merger"}), To: pick(h.r, "to", []remit.AgentStatus{remit.AgentSuspended, remit.AgentActive})})
	case 5:
		if rapid.IntRange(0, 3).Draw(h.r, "really") == 0 {
			h.try(&authority.Kill{By: h.person(), What: "person", ID: h.person()})
		}
	}
}

func (h *history) pass() {
	h.later(time.Duration(pick(h.r, "seconds", []int{1, 30, 300, 3600})) * time.Second)
	if h.s.Due(h.now.UnixNano()) {
		h.try(&authority.Tick{})
	}
}

// judge is a policy that holds and denies by what it sees, and changes its mind by the hour.
func (h *history) policyOf(f authority.Facts) authority.Finding {
	switch {
	case f.Bytes == 1000 && f.Minute/60%2 == 0:
		return authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "release", N: 1}}}
	case f.Agent.Name == "":
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied}
	}
	return authority.Finding{Verdict: remit.Allow}
}

// reach plays random histories until they came to all that they must come to. One round mostly does; what five do not come to is
// not come to.
func reach(t *testing.T, seen map[string]int, must []string, history func(*rapid.T)) {
	t.Helper()
	missing := func() []string {
		return slices.DeleteFunc(slices.Clone(must), func(k string) bool { return seen[k] > 0 })
	}
	for range 5 {
		rapid.Check(t, history)
		if testing.Short() || len(missing()) == 0 {
			return
		}
	}
	t.Errorf("no history came to %q: %v", missing(), seen)
}

func TestHistories(t *testing.T) {
	seen := map[string]int{}
	reach(t, seen, []string{"decision allow ", "decision allow  claim", "access.opened", "access.moved met ", "permit.redeemed", "attempt.recorded", "access.moved used ",
		"access.moved void SUPERSEDED", "access.moved void VETOED", "access.moved void DROPPED", "decision deny REF_OUT_OF_SCOPE", "decision hold IMPACT_HELD",
		"decision deny STALE", "decision deny ROLLBACK_UNKNOWN", "production", "task.created deploys", "task.created delegated", "task.created requested of builder", "task.created requested of medic", "instance.started job",
		"decision asked by an executor hold IMPACT_HELD claim", "lease.moved active", "lease.moved revoked",
		"payloads.erased", "finding.recorded", "finding.recorded suspended", "upstream.contained", "upstream.scanned", "decision deny CONTAINED", "log.forked",
		"person.invited", "invitation.withdrawn", "key.enrolled", "key.admitted", "key.removed", "groups.shown"}, func(r *rapid.T) {
		h := &history{world: newWorld(r, pick(r, "profile", []remit.Profile{remit.Team, remit.Team, remit.Solo, remit.Demo}), family), r: r, check: judge.New(),
			requests: map[remit.ID]remit.Request{}, sets: map[remit.ID]authority.Set{}, wishes: map[remit.Digest]remit.Child{}}
		h.policy = h.policyOf
		moves := []func(){h.newTask, h.push, h.push, h.push, h.other, h.cast, h.cast, h.carry, h.carry, h.claimOne, h.claimOne, h.spend, h.spend, h.spend, h.record,
			h.build, h.deploys, h.deploys, h.promote, h.promote, h.lease, h.lease, h.moves, h.abandon,
			h.relate, h.relate, h.grow, h.grow, h.grow, h.bear, h.bear, h.work, h.work, h.operate, h.operate,
			h.erases, h.finds, h.finds, h.looks, h.looks, h.tells, h.contains, h.scans, h.restores,
			h.strange, h.strange, h.invites, h.invites, h.enrols, h.enrols, h.signsIn, h.signsIn,
			h.declare, h.end, h.pass, func() {
				if len(h.s.Tasks) > 0 {
					h.start(pick(h.r, "task", ids(h.s.Tasks)))
				}
			}}
		for i := range 60 {
			h.quick = i%4 != 0
			if i < 2 {
				h.newTask()
				continue
			}
			moves[rapid.IntRange(0, len(moves)-1).Draw(r, "move")]()
		}
		h.replay()
		for _, l := range h.log {
			k := l.event.Kind()
			switch e := l.event.(type) {
			case *remit.TaskCreated:
				switch {
				case e.Deploy.Environment != "":
					k += " deploys"
				case e.Delegated:
					k += " delegated"
				case e.Parent != "":
					k += " requested of " + e.Agent
				}
			case *remit.InstanceStarted:
				if e.Issuer != "" {
					k += " job"
				}
			case *remit.Decided:
				if e.Executor != "" && e.Agent != "" {
					k += " asked by an executor"
				}
				k += " " + e.Verdict.String() + " " + string(e.Code)
				if e.Executor != "" {
					k += " claim"
				}
			case *remit.AccessMoved:
				k += " " + string(e.To) + " " + string(e.Why)
			case *remit.LeaseMoved:
				k += " " + string(e.To)
			case *remit.Found:
				if e.Suspended {
					k += " suspended"
				}
			case *remit.Recorded:
				if h.s.Releases != nil && len(h.s.Releases["payments/production"]) > 0 {
					seen["production"]++
				}
			}
			seen[k]++
		}
	})
	if testing.Verbose() {
		for _, k := range slices.Sorted(func(yield func(string) bool) {
			for k := range seen {
				if !yield(k) {
					return
				}
			}
		}) {
			t.Logf("%6d %s", seen[k], k)
		}
	}
}
