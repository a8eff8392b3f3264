package judge_test

import (
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// bends are the ways in which a log can be wrong. Each gives the bent log where entry i is one that it bends, or nil.
// The log is a fresh copy each time.
var bends = []bend{
	{"time goes back", "R8", anywhere(func(l []line, i int) []line {
		if i < 40 {
			return nil
		}
		l[i].at = l[i-1].at.Add(-time.Second)
		return l
	})},
	{"an entry of a kind from tomorrow", "log", anywhere(func(l []line, i int) []line { return with(l[:i+1], i, &unknown{}) })},
	{"a second genesis", "log", anywhere(func(l []line, i int) []line { return with(l, i, l[0].e)[:i+2] })},
	{"an id is given twice", "log", on(func(l []line, i int, e *remit.TaskCreated) []line { return with(l, i+1, e)[:i+2] })},
	{"a repeated denial is none", "log", on(func(l []line, i int, e *remit.DenialRepeated) []line { e.Entry = 0; return l })},

	{"another policy judged", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		e.Policy = remit.Hash([]byte("x"))
		return granted(e, l)
	})},
	{"no facts", "R1", on(func(l []line, i int, e *remit.Decided) []line { e.Facts = remit.Digest{}; return granted(e, l) })},
	{"an action that no catalogue has", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if len(e.Steps) == 0 {
			return nil
		}
		e.Steps[0].Step.Action = "source.burn"
		return granted(e, l)
	})},
	{"nothing was asked for", "R1", on(func(l []line, i int, e *remit.Decided) []line { e.Steps = nil; return granted(e, l) })},
	{"outside of the grant", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Executor != "" || e.Steps[0].Ref == "" || e.Steps[0].Step.Action != "source.push" {
			return nil
		}
		e.Steps[0].Ref = "refs/heads/other"
		return l
	})},
	{"a path outside of the scope", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Steps[0].Ref == "" {
			return nil
		}
		e.Steps[0].OutsideScope = true
		return l
	})},
	{"what a gateway found fault with", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Steps[0].Ref == "" || e.Steps[0].Step.Action != "source.push" {
			return nil
		}
		e.Steps[0].Findings = []remit.Code{remit.BadObject}
		return l
	})},

	{"a permit that lives an hour", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		e.NotAfter += 3600e9
		return allowed(e, l)
	})},
	{"an attempt that lives an hour", "R2", on(func(l []line, i int, e *remit.Redeemed) []line { e.NotAfter += 3600e9; return l })},
	{"a permit is redeemed too late", "R2", on(func(l []line, i int, e *remit.Redeemed) []line {
		for k := i; k < len(l); k++ {
			l[k].at = l[k].at.Add(61 * time.Second)
		}
		return l
	})},
	{"an instance acts that has ended", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Instance == "" {
			return nil
		}
		return with(l, i, &remit.InstanceEnded{Instance: e.Instance})
	})},
	{"somebody acts for who was killed", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Executor != "" {
			return nil
		}
		return with(l, i, &remit.PersonKilled{Person: requester(l, e.Task), By: requester(l, e.Task)})
	})},
	{"a task of a week", "R2", on(func(l []line, i int, e *remit.TaskCreated) []line { e.Deadline += 7 * 24 * 3600e9; return l })},
	{"a task that was over before it began", "R2", on(func(l []line, i int, e *remit.InstanceStarted) []line {
		for k := range i {
			if t, ok := l[k].e.(*remit.TaskCreated); ok && t.ID == e.Task {
				t.Deadline = l[i].at.UnixNano()
				return l[:i+1]
			}
		}
		return nil
	})},
	{"an instance outlives its task", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny {
			return nil
		}
		return with(l, i, &remit.TaskEnded{Task: e.Task, Status: remit.TaskExpired})[:i+2]
	})},
	{"a child outlives its parent", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || parent(l, e.Task) == "" {
			return nil
		}
		return with(l, i, &remit.TaskEnded{Task: parent(l, e.Task), Status: remit.TaskExpired})[:i+2]
	})},
	{"a hold outlives its task", "R2", on(func(l []line, i int, e *remit.VoteCast) []line {
		for k := range i {
			if a, ok := l[k].e.(*remit.AccessOpened); ok && a.ID == e.Access && a.Task != "" {
				return with(l, i, &remit.TaskEnded{Task: a.Task, Status: remit.TaskExpired})[:i+2]
			}
		}
		return nil
	})},
	{"a resumed agent has its tasks back", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny {
			return nil
		}
		agent := taskOf(l, e.Task).Agent
		return with(l, i, &remit.AgentChanged{Agent: agent, Status: remit.AgentSuspended, By: "p-ada"}, &remit.AgentChanged{Agent: agent, Status: remit.AgentActive, By: "p-ada"})[:i+3]
	})},
	{"a person who is declared again has their tasks back", "R2", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny {
			return nil
		}
		who := requester(l, e.Task)
		for k := i; k >= 0; k-- {
			if p, ok := l[k].e.(*remit.PersonDeclared); ok && p.ID == who && who != "p-ada" {
				again := *p
				again.By = "p-ada"
				return with(l, i, &remit.Removed{What: "person", Name: string(who), By: "p-ada"}, &again, &remit.Applied{By: "p-ada"})[:i+4]
			}
		}
		return nil
	})},
	{"who launches has no part in it", "R2", on(func(l []line, i int, e *remit.InstanceStarted) []line {
		if e.Launcher = "p-rio"; e.Issuer != "" {
			return nil
		}
		return l
	})},

	{"an agent votes", "R3", on(func(l []line, i int, e *remit.VoteCast) []line { e.Person = "coder"; return l })},
	{"the requester votes", "R3", on(func(l []line, i int, e *remit.VoteCast) []line {
		a := accessOf(l, e.Access)
		if a == nil || a.Task == "" || e.Assurance == remit.AssuranceSelf || !e.Approve {
			return nil
		}
		e.Person = requester(l, a.Task)
		return l
	})},
	{"who voted had a hand in it", "R3", on(func(l []line, i int, e *remit.VoteCast) []line {
		a := accessOf(l, e.Access)
		if e.Assurance == remit.AssuranceSelf || !e.Approve {
			return nil
		}
		a.Closure = append(a.Closure, e.Person)
		return l
	})},
	{"a vote by a key of nobody", "R3", on(func(l []line, i int, e *remit.VoteCast) []line { e.Key = remit.Hash([]byte("x")); return l })},
	{"a key that came after the request", "R3", on(func(l []line, i int, e *remit.VoteCast) []line {
		found := false
		for k := range i {
			if p, ok := l[k].e.(*remit.PersonDeclared); ok && p.ID == e.Person {
				for n := range p.Keys {
					p.Keys[n].Since, found = remit.EntryIndex(i), true
				}
			}
		}
		if !found {
			return nil
		}
		return l
	})},
	{"one key is two people's", "R3", on(func(l []line, i int, e *remit.PersonDeclared) []line {
		if i > 20 || len(e.Keys) == 0 {
			return nil
		}
		return with(l, i+1, &remit.PersonDeclared{ID: "p-eve", Keys: e.Keys, By: "p-ada"})
	})},
	{"the closure lacks the requester", "R3", on(func(l []line, i int, e *remit.AccessOpened) []line {
		if e.Task == "" {
			return nil
		}
		e.Closure = slices.DeleteFunc(slices.Clone(e.Closure), func(p remit.ID) bool { return p == requester(l, e.Task) })
		return l
	})},
	{"who asks Remit itself is not in the closure", "R3", on(func(l []line, i int, e *remit.AccessOpened) []line {
		if e.Closure = nil; e.Task != "" {
			return nil
		}
		return l
	})},
	{"the agent of an author merges", "R3", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || e.Steps[0].Step.Action != "source.merge" {
			return nil
		}
		e.Steps[0].Signers = []remit.ID{"p-ada"}
		return l
	})},

	{"an instance of another agent", "R4", on(func(l []line, i int, e *remit.InstanceStarted) []line { e.Agent = "docs-bot"; return l })},
	{"an agent changes its function", "R4", on(func(l []line, i int, e *remit.AgentDeclared) []line {
		x := *e
		x.Function = remit.FuncPlan
		if e.Function == remit.FuncPlan {
			x.Function = remit.FuncCode
		}
		return with(l, i+1, &x)
	})},
	{"an effect is left out", "R4", on(func(l []line, i int, e *remit.Decided) []line {
		n := len(e.Steps)
		e.Steps = slices.DeleteFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Effect })
		if e.Verdict == remit.Deny || n == len(e.Steps) {
			return nil
		}
		return l
	})},
	{"a build with secrets runs what nobody saw", "R4", on(func(l []line, i int, e *remit.Decided) []line {
		for n := range e.Steps {
			if e.Verdict == remit.Allow && e.Access == "" && e.Glass == "" && e.Plan.Used == nil && e.Steps[n].Step.Effect && e.Steps[n].Step.Resource == "pipeline:app/ci" {
				e.Steps[n].Runs = true
				return l
			}
		}
		return nil
	})},
	{"a credential in another zone", "R4", on(func(l []line, i int, e *remit.LeaseOpened) []line {
		e.Zone = map[remit.Zone]remit.Zone{"S": "P", "B": "S", "P": "B"}[e.Zone]
		return l
	})},

	{"a grant wider than the entitlement", "R5", on(func(l []line, i int, e *remit.TaskCreated) []line {
		if e.Parent != "" {
			return nil
		}
		e.Grant[0].Resources = append(e.Grant[0].Resources, "repo:other/**")
		return l
	})},
	{"a delegation as wide as its parent", "R5", on(func(l []line, i int, e *remit.TaskCreated) []line {
		if !e.Delegated {
			return nil
		}
		for k := range i {
			if t, ok := l[k].e.(*remit.TaskCreated); ok && t.ID == e.Parent {
				e.Grant = t.Grant
			}
		}
		return l
	})},

	{"the vote that decided is gone", "R6", on(func(l []line, i int, e *remit.VoteCast) []line {
		return meets(l, i, e, func() []line { return drop(l, i) })
	})},
	{"the vote that decided was a refusal", "R6", on(func(l []line, i int, e *remit.VoteCast) []line {
		return meets(l, i, e, func() []line { e.Approve = false; return l })
	})},
	{"one person votes twice", "R6", on(func(l []line, i int, e *remit.VoteCast) []line {
		for k := range i {
			if v, ok := l[k].e.(*remit.VoteCast); ok && v.Access == e.Access && v.Approve {
				return meets(l, i, e, func() []line { e.Person, e.Key, e.Assurance = v.Person, v.Key, v.Assurance; return l })
			}
		}
		return nil
	})},
	{"software votes on production", "R6", on(func(l []line, i int, e *remit.VoteCast) []line {
		genesis := l[0].e.(*remit.Genesis)
		if a := accessOf(l, e.Access); a.Zone != remit.ZoneProduction || genesis.Profile == remit.Demo {
			return nil
		}
		return meets(l, i, e, func() []line { e.Assurance = remit.AssuranceSoftware; return l })
	})},
	{"a sensitive step without its approval", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Access == "" {
			return nil
		}
		e.Access = ""
		return allowed(e, l)
	})},
	{"another effect than was approved", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Access == "" {
			return nil
		}
		e.Effect = remit.Hash([]byte("x"))
		return allowed(e, l)
	})},
	{"an approval that was used comes back", "R6", on(func(l []line, i int, e *remit.AccessMoved) []line {
		if e.To != remit.AccessUsed {
			return nil
		}
		return with(l, i+1, &remit.AccessMoved{Access: e.Access, To: remit.AccessMet})
	})},
	{"an approval is used without an attempt", "R6", on(func(l []line, i int, e *remit.AccessMoved) []line {
		if a := accessOf(l, e.Access); e.To != remit.AccessMet || a.Task == "" {
			return nil
		}
		return with(l, i+1, &remit.AccessMoved{Access: e.Access, To: remit.AccessUsed})
	})},
	{"a hold that no decision made", "R6", on(func(l []line, i int, e *remit.AccessOpened) []line {
		if d, ok := l[i-1].e.(*remit.Decided); !ok || d.Verdict != remit.Hold {
			return nil
		}
		return drop(l, i-1)
	})},
	{"a hold of a week", "R6", on(func(l []line, i int, e *remit.AccessOpened) []line { e.NotAfter += 7 * 24 * 3600e9; return l })},
	{"a hold that asks nobody", "R6", on(func(l []line, i int, e *remit.AccessOpened) []line { e.Needs = nil; return l })},
	{"declarations without the votes", "R6", on(func(l []line, i int, e *remit.Applied) []line {
		if e.Access == "" {
			return nil
		}
		for k := i - 1; k > 0; k-- {
			if m, ok := l[k].e.(*remit.AccessMoved); ok && m.Access == e.Access {
				return drop(l, k)
			}
		}
		return nil
	})},

	{"a second outcome", "R7", on(func(l []line, i int, e *remit.Recorded) []line { return with(l, i+1, e)[:i+2] })},
	{"an outcome of no attempt", "R7", on(func(l []line, i int, e *remit.Recorded) []line { e.Attempt = "X-9999"; return l })},
	{"an outcome that there is not", "R7", on(func(l []line, i int, e *remit.Recorded) []line { e.Outcome = "fine"; return l })},
	{"a credential for nothing that is going on", "R7", on(func(l []line, i int, e *remit.LeaseOpened) []line { e.Attempt = "X-9999"; return l })},
	{"a child task that nobody asked for", "R7", on(func(l []line, i int, e *remit.TaskCreated) []line {
		if e.Attempt = ""; e.Parent == "" {
			return nil
		}
		return l
	})},

	{"a permit is redeemed twice", "R8", on(func(l []line, i int, e *remit.Redeemed) []line {
		x := *e
		x.ID = "X-9999"
		return with(l, i+1, &x)
	})},
	{"a permit that no decision gave", "R8", on(func(l []line, i int, e *remit.Redeemed) []line { e.Permit = "P-9999"; return l })},
	{"a permit is redeemed after its agent was suspended", "R8", on(func(l []line, i int, e *remit.Redeemed) []line {
		for k := range i {
			if d, ok := l[k].e.(*remit.Decided); ok && d.Permit == e.Permit && d.Agent != "" {
				return with(l, i, &remit.AgentChanged{Agent: d.Agent, Status: remit.AgentSuspended, By: "p-ada"})
			}
		}
		return nil
	})},
	{"done after revocation", "R8", on(func(l []line, i int, e *remit.Recorded) []line {
		if e.Outcome != remit.AfterRevocation {
			return nil
		}
		e.Outcome = remit.Done
		return l
	})},

	{"a credential that was never intended", "R9", on(func(l []line, i int, e *remit.LeaseOpened) []line { return drop(l, i) })},
	{"a credential is used before it was seen", "R9", on(func(l []line, i int, e *remit.LeaseMoved) []line {
		if e.To != remit.LeaseMinted {
			return nil
		}
		e.To = remit.LeaseActive
		return l
	})},
	{"a credential ends unseen", "R9", on(func(l []line, i int, e *remit.LeaseMoved) []line {
		if e.To != remit.LeaseRevoking {
			return nil
		}
		e.To = remit.LeaseRevoked
		return l
	})},
	{"a credential that ended comes back", "R9", on(func(l []line, i int, e *remit.LeaseMoved) []line {
		if e.To != remit.LeaseRevoked {
			return nil
		}
		return with(l, i+1, &remit.LeaseMoved{Lease: e.Lease, To: remit.LeaseActive})
	})},
	{"one person gives a credential up", "R9", on(func(l []line, i int, e *remit.LeaseMoved) []line {
		if e.To != remit.LeaseRevoked {
			return nil
		}
		e.To, e.By = remit.LeaseAbandoned, []remit.ID{"p-ada"}
		return l
	})},

	{"declarations of somebody else", "control", on(func(l []line, i int, e *remit.Applied) []line { e.By = "p-mia"; return l })},
	{"declarations that nobody applied", "control", on(func(l []line, i int, e *remit.Applied) []line {
		if i+1 == len(l) {
			return nil
		}
		l = drop(l, i)
		if _, next := l[i].e.(*remit.TaskCreated); !next {
			return nil
		}
		return l[:i+1]
	})},
	{"somebody else suspends an agent", "control", on(func(l []line, i int, e *remit.AgentChanged) []line { e.By = "p-rio"; return l })},
	{"somebody else kills", "control", on(func(l []line, i int, e *remit.PersonKilled) []line {
		if e.By = "p-tom"; e.Person == "p-tom" {
			return nil
		}
		return l
	})},
	{"somebody else confirms the clock", "control", on(func(l []line, i int, e *remit.ClockConfirmed) []line { e.By = "p-mia"; return l })},
	{"somebody else ends a task", "control", on(func(l []line, i int, e *remit.TaskEnded) []line {
		if e.By, e.Status = "p-sam", remit.TaskCancelled; requester(l, e.Task) == "p-sam" || ownerSam(l) {
			return nil
		}
		return l
	})},
	{"a person erases alone", "control", late(&remit.PayloadsErased{By: "p-ada", Payloads: []remit.Digest{{1}}})},
	{"somebody else erases", "control", late(&remit.PayloadsErased{By: "p-mia", Payloads: []remit.Digest{{1}}})},
	{"a payload is erased twice", "control", late(&remit.PayloadsErased{By: "p-ada", Payloads: []remit.Digest{{1}, {1}}, Access: "A-1"})},
	{"payloads are erased without votes", "R6", late(&remit.PayloadsErased{By: "p-ada", Payloads: []remit.Digest{{1}}, Access: "A-9999"})},
	{"one person forks the log", "control", late(&remit.LogForked{By: []remit.ID{"p-ada", "p-ada"}, Size: house, Lost: 40})},
	{"the log goes on from somewhere else", "log", late(&remit.LogForked{By: []remit.ID{"p-ada", "p-bob"}, Size: 7, Lost: 40})},
	{"an entry is lost without a fork", "log", late(&remit.EntryLost{})},
	{"a task outlives a fork", "R2", on(func(l []line, i int, e *remit.InstanceStarted) []line {
		return with(l, i, &remit.LogForked{By: []remit.ID{"p-ada", "p-bob"}, Size: uint64(i), Lost: uint64(i)})
	})},
	{"a detection suspends that may not", "control", late(&remit.Found{Detection: "burst", Agent: "coder", Entries: []remit.EntryIndex{3}, Count: 1, Suspended: true})},
	{"a finding about the future", "log", late(&remit.Found{Detection: "burst", Agent: "coder", Entries: []remit.EntryIndex{99}, Count: 1})},
	{"a tool of another definition passes", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict != remit.Allow || e.Executor != "" || len(e.Steps) == 0 || !strings.HasPrefix(string(e.Steps[0].Step.Resource), "tool:hub/") || e.Steps[0].Step.Action == "tool.list" {
			return nil
		}
		e.Pin = remit.Digest{1}
		return l
	})},
	{"a tool passes for less than it is", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || len(e.Steps) == 0 || e.Steps[0].Step.Resource != "tool:hub/wipe" && e.Steps[0].Step.Resource != "tool:hub/put" {
			return nil
		}
		e.Steps[0].Step.Action = "tool.read"
		return l
	})},
	{"a call forgets what it does besides", "R1", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || len(e.Steps) != 2 || e.Steps[0].Step.Resource != "tool:hub/get" {
			return nil
		}
		e.Steps = e.Steps[:1]
		return l
	})},
	{"a call is bound to nothing", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Verdict == remit.Deny || len(e.Steps) == 0 || !strings.HasPrefix(string(e.Steps[0].Step.Resource), "tool:hub/") || e.Steps[0].Step.Action == "tool.list" {
			return nil
		}
		e.Steps[0].Step.Args = remit.Digest{}
		return l
	})},
	{"a server has two zones", "R4", on(func(l []line, i int, e *remit.ToolDeclared) []line {
		if e.Server() == remit.LocalTools {
			return nil
		}
		e.Zone = remit.ZoneBuild
		return l
	})},
	{"a label is lost", "R1", on(func(l []line, i int, e *remit.Redeemed) []line {
		if len(e.Taints) == 0 {
			return nil
		}
		e.Taints = nil
		return l
	})},
	{"a label too many", "R1", on(func(l []line, i int, e *remit.Redeemed) []line { e.Taints = append(e.Taints, "zeal"); return l })},
	{"somebody else contains an upstream", "control", late(&remit.UpstreamContained{Upstream: "forge", By: "p-mia"})},
	{"somebody else has an upstream scanned", "control", late(&remit.UpstreamScanned{Upstream: "forge", By: "p-mia", Report: []remit.Digest{{1}}})},
	{"a scan that says nothing", "log", late(&remit.UpstreamScanned{Upstream: "forge", By: "p-ada"})},
	{"a credential at an upstream that is contained", "R8", on(func(l []line, i int, e *remit.LeaseOpened) []line {
		return with(l, i, &remit.UpstreamContained{Upstream: e.Upstream, By: "p-ada"})
	})},
	{"what was asked under one key is done twice", "log", anywhere(func(l []line, i int) []line {
		if i != house {
			return nil
		}
		return with(l, i, &remit.AnswerKept{Key: remit.Digest{1}, Body: remit.Digest{2}}, &remit.AnswerKept{Key: remit.Digest{1}, Body: remit.Digest{3}})[:i+2]
	})},
	{"an answer is kept under no key", "log", late(&remit.AnswerKept{Body: remit.Digest{2}})},
}
