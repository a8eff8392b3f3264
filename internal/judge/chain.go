package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// chain is what the judge knows of artifacts, releases, reviews, merges and leases: from the log alone.
type chain struct {
	origin   map[remit.Artifact][]remit.Input // of the first publication that was done
	current  map[string]*release              // of an environment
	history  map[string][]*release            // what was tried, oldest first
	merged   map[string]bool
	verdicts map[string]verdict // by agent and change: the last one
	held     map[remit.ID]remit.Decided
	leases   map[remit.ID]*lease
	ended    map[remit.ID]bool
	kinds    map[string]string // of upstreams
}

type (
	release struct {
		remit.Deploy
		entry remit.EntryIndex
		done  bool
		back  bool // a later rollback took it away
	}
	verdict struct {
		change  remit.Digest
		agent   string
		owner   remit.ID
		approve bool
		task    remit.ID // in which it was given

		launcher remit.ID
	}
	lease struct {
		remit.LeaseOpened
		was    []remit.LeaseStatus
		stated int64
	}
)

func newChain() chain {
	return chain{origin: map[remit.Artifact][]remit.Input{}, current: map[string]*release{}, history: map[string][]*release{}, merged: map[string]bool{},
		verdicts: map[string]verdict{}, held: map[remit.ID]remit.Decided{}, leases: map[remit.ID]*lease{}, ended: map[remit.ID]bool{}, kinds: map[string]string{}}
}

// chainRead gives what of an entry no rule-abiding log says of the chain to production; empty: nothing.
func (j *Judge) chainRead(n int, at int64, event remit.Event) string {
	switch e := event.(type) {
	case *remit.UpstreamDeclared:
		j.chain.kinds[e.Name] = e.Type
	case *remit.Decided:
		if e.Verdict == remit.Allow {
			return j.chainAllowed(e)
		}
	case *remit.Redeemed:
		if p := j.permits[e.Permit]; p != nil && p.Deploy.Environment != "" {
			for _, o := range j.tries {
				if o.Deploy.Environment == p.Deploy.Environment {
					return "R7: two deployments of one environment at once"
				}
			}
		}
	case *remit.Recorded:
		if p := j.tries[e.Attempt]; p != nil {
			return j.chainDone(n, p, e)
		}
	case *remit.LeaseOpened:
		return j.leaseOpened(at, e)
	case *remit.LeaseMoved:
		return j.leaseMoved(at, e)
	}
	return ""
}

func (j *Judge) chainAllowed(e *remit.Decided) string {
	t := j.tasks[e.Task]
	if h, ok := j.chain.held[e.Access]; e.Access != "" && ok {
		if fmt.Sprint(h.Deploy) != fmt.Sprint(e.Deploy) || fmt.Sprint(h.Artifacts) != fmt.Sprint(e.Artifacts) || h.Review != e.Review || h.Change != e.Change {
			return "R6: what is allowed is not what was approved"
		}
	}
	for _, f := range e.Steps {
		switch {
		case f.Step.Effect:
		case f.Step.Action == "artifact.publish":
			if !slices.ContainsFunc(e.Artifacts, func(a remit.Artifact) bool { return a.Resource == f.Step.Resource }) {
				return "R6: something is published that has no digest"
			}
		case f.Step.Action == "source.merge":
			if why := j.reviewed(f, e.Change); why != "" {
				return why
			}
		case f.Step.Action == "deploy.promote", f.Step.Action == "deploy.rollback":
			if e.Access == "" || e.Executor != "executor/production" || f.Step.Resource != remit.Resource("environment:"+e.Deploy.Environment) || len(e.Deploy.Artifacts) == 0 {
				return "R6: a deployment without an approval, an executor or a digest"
			}
			if t.Deploy.Environment != "" && fmt.Sprint(t.Deploy) != fmt.Sprint(e.Deploy) {
				return "R4: a deployment that its task is not for"
			}
			if why := j.deployable(e); why != "" {
				return why
			}
		}
	}
	return ""
}

// builtFor are the commits among inputs, of repositories that declare an artifact.
func (j *Judge) builtFor(inputs []remit.Input, a remit.Resource) (commits []string) {
	for _, in := range inputs {
		name, isRepo := strings.CutPrefix(string(in.Resource), "repo:")
		if r, declared := j.repos[name]; isRepo && declared && inside(remit.Pattern(a), r.Artifacts) {
			commits = append(commits, name+"@"+in.ID)
		}
	}
	return commits
}

func (j *Judge) deployable(e *remit.Decided) string {
	env, d := j.envs[e.Deploy.Environment], e.Deploy
	if env.Spec.IsZero() {
		return "R1: a deployment to no target"
	}
	from := remit.EntryIndex(0)
	var there []remit.Artifact
	if cur := j.chain.current[env.Name]; cur != nil {
		from, there = cur.entry, cur.Artifacts
	}
	if d.From != from {
		return "R6: a deployment in the place of what is not there"
	}
	tried := j.chain.history[env.Name]
	unclear := len(tried) > 0 && !tried[len(tried)-1].done
	if d.Rollback {
		good := slices.ContainsFunc(tried, func(r *release) bool {
			return r.done && !r.back && fmt.Sprint(r.Artifacts) == fmt.Sprint(d.Artifacts)
		})
		if !good || !unclear && fmt.Sprint(there) == fmt.Sprint(d.Artifacts) {
			return "R6: a rollback to what was not good here"
		}
		return ""
	}
	if unclear && fmt.Sprint(tried[len(tried)-1].Artifacts) != fmt.Sprint(d.Artifacts) {
		return "R7: a promotion over what nobody knows"
	}
	evidence := env.Evidence
	if len(evidence) == 0 && env.Tier == "production" {
		evidence = []string{"built"}
	}
	for _, a := range d.Artifacts {
		if !inside(remit.Pattern(a.Resource), env.Artifacts) {
			return "R1: an environment is given what it does not accept"
		}
		for _, ev := range evidence {
			if why := j.lacks(a, ev); why != "" {
				return why
			}
		}
	}
	return ""
}

// lacks tells what an artifact lacks of a kind of evidence.
func (j *Judge) lacks(a remit.Artifact, kind string) string {
	commits := j.builtFor(j.chain.origin[a], a.Resource)
	other, deployed := strings.CutPrefix(kind, "deployed:")
	switch {
	case kind == "built" && len(commits) == 0:
		return "R4: a promotion without provenance"
	case kind == "merged" && !slices.ContainsFunc(commits, func(k string) bool { return j.chain.merged[k] }):
		return "R4: a promotion of what was not merged"
	case deployed && !slices.ContainsFunc(j.chain.history[other], func(r *release) bool { return r.done && !r.back && slices.Contains(r.Artifacts, a) }):
		return "R4: a promotion of what was not tried before"
	}
	return ""
}

// head is the agent whose work a verdict is, since the third rules: the first of function review on the way down to the
// task in which it was given. Whatever a reviewer hands on, or has others ask for, is its own work.
func (j *Judge) head(v verdict) string {
	of := v.agent
	if j.rules >= 3 {
		j.up(j.tasks[v.task], func(t *task) {
			if j.agents[t.Agent].Function == remit.FuncReview {
				of = t.Agent
			}
		})
	}
	return of
}

// voice is the owner whom a verdict counts for: once, however many hands it went through.
func (j *Judge) voice(v verdict) remit.ID {
	if of := j.head(v); of != v.agent {
		return j.agents[of].Owner
	}
	return v.owner
}

// reviewed: as many owners as the repository asks for stand behind exactly this change, and nobody against it.
func (j *Judge) reviewed(f remit.StepFacts, change remit.Digest) string {
	repo := j.repos[f.Step.Resource.Name()]
	owners := map[remit.ID]bool{}
	for _, v := range j.chain.verdicts {
		if v.change != change || repo.Reviews == 0 {
			continue
		}
		if !v.approve {
			return "R3: a merge of what a reviewer rejects"
		}
		a, head := j.agents[v.agent], j.agents[j.head(v)]
		if a.status == remit.AgentActive && !slices.Contains(f.Signers, a.Owner) && !slices.Contains(f.Signers, head.Owner) {
			owners[j.voice(v)] = true
		}
	}
	if len(owners) < repo.Reviews {
		return "R3: a merge without its reviews"
	}
	return ""
}

func (j *Judge) chainDone(n int, p *permit, e *remit.Recorded) string {
	if env := p.Deploy.Environment; env != "" && e.Outcome != remit.NotApplied {
		r := &release{Deploy: p.Deploy, entry: remit.EntryIndex(n), done: e.Outcome == remit.Done}
		j.chain.history[env] = append(j.chain.history[env], r)
		if r.done {
			if old := j.chain.current[env]; old != nil && r.Rollback && fmt.Sprint(old.Artifacts) != fmt.Sprint(r.Artifacts) {
				old.back = true
			}
			j.chain.current[env] = r
		}
		if a := j.access[p.Access]; a == nil || a.uses != 1 {
			return "R6: a release that is not the one of its approval"
		}
	}
	if e.Outcome != remit.Done {
		return ""
	}
	for _, a := range p.Artifacts {
		if _, known := j.chain.origin[a]; !known {
			j.chain.origin[a] = j.tasks[p.Task].Inputs
		}
	}
	for _, f := range p.Steps {
		agent := j.tasks[p.Task].Agent
		if f.Step.Action == "review.submit" {
			j.chain.verdicts[agent+" "+p.Change.String()] = verdict{p.Change, agent, j.agents[agent].Owner, p.Review == remit.ReviewApprove, p.Task, p.launcher}
		}
		name := f.Step.Resource.Name()
		if !f.Step.Effect && f.Ref != "" && f.Ref == "refs/heads/"+j.repos[name].DefaultBranch {
			j.chain.merged[fmt.Sprintf("%s@%x", name, f.New)] = true
			if f.Step.Action == "source.merge" {
				j.chain.merged[name+"@"+e.Made] = true
			}
		}
	}
	return ""
}

func (j *Judge) leaseOpened(at int64, e *remit.LeaseOpened) string {
	p := j.tries[e.Attempt]
	if p == nil || p.Task != e.Task || j.alive(e.Task, at) != "" {
		return "R7: a credential for nothing that is going on"
	}
	zone := map[string]remit.Zone{"http": "S", "gitea": "S", "local": "S", "registry": "B", "kubernetes": "P", "command": "P"}[j.chain.kinds[e.Upstream]]
	if slices.ContainsFunc(p.Steps, func(f remit.StepFacts) bool { return f.Step.Resource.Type() == "tool" }) && !strings.HasPrefix(string(e.Target), "tool:"+e.Upstream+"/") {
		return "R4: a call of a tool has a credential of something else than its server"
	}
	for _, f := range p.Steps {
		if call := strings.HasPrefix(string(e.Target), "tool:"); call && f.Step.Resource.Type() != "tool" {
			continue // what a call does besides
		} else if call {
			zone = j.toolZone(f.Step.Resource)
			continue
		}
		if z, _ := zoneOfStep(f.Step); !f.Step.Effect && z != e.Zone && !(z == "" && strings.HasPrefix(string(e.Target), "repo:")) {
			return "R4: a credential in a zone that its attempt is not in"
		}
	}
	if zone == "" || zone != e.Zone {
		return "R4: a credential in a zone that its upstream is not in"
	}
	if j.control.contained[e.Upstream] {
		return "R8: a credential at an upstream that is contained"
	}
	for _, l := range j.chain.leases {
		if l.Upstream == e.Upstream && l.Zone != e.Zone {
			return "R4: an upstream serves two zones"
		}
	}
	if e.NotAfter > j.tasks[e.Task].Deadline || j.chain.leases[e.ID] != nil || j.chain.ended[e.ID] {
		return "R2: a credential that outlives its task, or twice the same"
	}
	j.chain.leases[e.ID] = &lease{LeaseOpened: *e, was: []remit.LeaseStatus{remit.LeaseIntended}}
	return ""
}

func (j *Judge) leaseMoved(at int64, e *remit.LeaseMoved) string {
	l := j.chain.leases[e.Lease]
	if l == nil {
		return "R9: a lease moves that was never intended, or has ended"
	}
	l.stated = max(l.stated, e.NotAfter)
	last := l.was[len(l.was)-1]
	closing := slices.Contains(l.was, remit.LeaseRevoking)
	bad := false
	switch e.To {
	case remit.LeaseAnchored, remit.LeaseMinted, remit.LeaseActive:
		bad = closing || slices.Contains(l.was, remit.LeaseQuarantined) || slices.Contains(l.was, e.To) || j.alive(l.Task, at) != "" ||
			l.stated > l.NotAfter+60e9 || e.To == remit.LeaseActive && last != remit.LeaseMinted || e.To == remit.LeaseAnchored && last != remit.LeaseIntended
	case remit.LeaseQuarantined:
		bad = closing || !slices.Contains(l.was, remit.LeaseMinted) || last == remit.LeaseQuarantined
	case remit.LeaseRevoking:
	case remit.LeaseRevoked:
		bad = !closing
	case remit.LeaseExpired:
		end := l.stated
		if end == 0 && l.Revocation == remit.RevokeExpiry {
			end = l.NotAfter
		}
		bad = !closing || end == 0 || at < end+60e9
	case remit.LeaseAbandoned:
		bad = !closing || len(e.By) < 2 || e.By[0] == e.By[1]
		for _, p := range e.By {
			bad = bad || j.dead[p] || !slices.Contains(j.groups[remit.Administrators], p)
		}
	default:
		bad = true
	}
	if bad {
		return fmt.Sprintf("R9: a lease that was %v becomes %s", l.was, e.To)
	}
	l.was = append(l.was, e.To)
	if e.To == remit.LeaseRevoked || e.To == remit.LeaseExpired || e.To == remit.LeaseAbandoned {
		delete(j.chain.leases, e.Lease)
		j.chain.ended[e.Lease] = true
	}
	return ""
}
