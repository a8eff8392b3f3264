package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// moves asks for pushes and merges: to the default branch, to what has effects, and to what the entitlements name; of a file
// that is nothing special, and of those that say what a pipeline runs.
func (b *builder) moves(c *context, m may) {
	repo := b.s.Repositories[m.on.Name()]
	for _, p := range b.refs(c, m, repo) {
		ref := refWitness(strings.ReplaceAll(string(p), "{task}", string(c.caller.Task)))
		to := NodeID("branch:" + repo.Name + "@" + string(p))
		if ref == "refs/heads/"+repo.DefaultBranch {
			to = m.node
		}
		for _, path := range b.paths(c, m) {
			if b.moved(c, m, repo, to, ref, path, false) {
				break // another file would reach nothing else
			}
		}
		for i := range repo.Effects {
			e := &repo.Effects[i]
			if e.Causes != "build.trigger" || !e.Refs.Match(remit.Resource(ref)) {
				continue
			}
			for _, path := range b.runs(c, m, e) {
				b.moved(c, m, repo, b.resource(e.On), ref, path, true)
			}
		}
	}
}

// moved asks for one push or merge of one file. What it sets off follows from the ref that it moves.
func (b *builder) moved(c *context, m may, repo *authority.Repository, to NodeID, ref, path string, pinned bool) bool {
	change := remit.RefChange{Ref: ref, Op: remit.RefCreate, New: madeCommit, Tree: madeTree, Commits: 1, Brought: []string{madeCommit},
		Paths: []remit.PathChange{{Path: path, NewMode: 0o100644, New: madeCommit}}}
	if ref == "refs/heads/"+repo.DefaultBranch || m.action == "source.merge" {
		change.Op, change.Old = remit.RefUpdate, madeBase
	}
	if pinned {
		change.Pinned = change.Paths
	}
	r := b.request(c, m)
	r.Refs, r.Bytes = []remit.RefChange{change}, 1
	if m.action == "source.merge" {
		return b.merges(c, m, repo, to, r)
	}
	b.refNode(to, repo)
	a, ok := b.acts(c, m, r, to)
	if ok {
		b.follows(to, a)
	}
	return ok
}

// refNode makes the node of a branch.
func (b *builder) refNode(id NodeID, repo *authority.Repository) {
	if id.Kind() == KindBranch {
		b.node(Node{ID: id, Zone: remit.ZoneSource, Note: "a ref of " + repo.Name + " that it stands for"})
	}
}

// follows makes edges of what a push or merge sets off by itself, but for builds: whoever moves a ref holds these only where
// they say what is run.
func (b *builder) follows(from NodeID, a authority.Answer) {
	if from.Kind() == KindPipeline {
		return
	}
	for _, f := range a.Steps {
		if !f.Step.Effect || f.Step.Action == "build.trigger" {
			continue
		}
		e := Edge{From: from, To: b.resource(f.Step.Resource), How: HowFollows, Action: f.Step.Action, On: f.Step.Resource, Verdict: remit.Allow,
			Why: fmt.Sprintf("what moves it causes %s on %s, and was judged for that as well", f.Step.Action, f.Step.Resource)}
		if b.s.ZoneOf(f.Step) == remit.ZoneProduction {
			e.Crosses = "into production"
		}
		b.add(e)
	}
}

// refs are the patterns of refs of a repository that are told apart: of two that overlap one contains the other.
func (b *builder) refs(c *context, m may, repo *authority.Repository) []remit.Pattern {
	out := []remit.Pattern{remit.Pattern("refs/heads/" + repo.DefaultBranch)}
	put := func(p remit.Pattern) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, e := range repo.Effects {
		put(e.Refs)
	}
	for _, sc := range b.s.Agents[c.agent].Entitlements {
		if !slices.Contains(sc.Actions, m.action) || !slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(m.on) }) {
			continue
		}
		for _, p := range sc.Refs {
			put(p)
		}
		if len(sc.Refs) == 0 {
			put(authority.TaskBranches)
		}
	}
	slices.Sort(out)
	return out
}

// refWitness is a ref that a pattern covers, and that no pattern below it does: names that are made up are two deep, so that
// it is told apart from /* as well.
func refWitness(p string) string {
	if rest, ok := strings.CutSuffix(p, "/**"); ok {
		return rest + "/" + madeUp + "/" + madeUp
	}
	if rest, ok := strings.CutSuffix(p, "/*"); ok {
		return rest + "/" + madeUp
	}
	return p
}

// pattern names the refs for which one stands: its own task's branches are those of any.
func (b *builder) pattern(c *context, ref string) string {
	ref = strings.ReplaceAll(ref, string(c.caller.Task), "{task}")
	if rest, ok := strings.CutSuffix(ref, "/"+madeUp+"/"+madeUp); ok {
		return rest + "/**"
	}
	if rest, ok := strings.CutSuffix(ref, "/"+madeUp); ok {
		return rest + "/*"
	}
	return ref
}

// paths are files that the entitlements let an agent change, one for each pattern.
func (b *builder) paths(c *context, m may) (out []string) {
	for _, sc := range b.s.Agents[c.agent].Entitlements {
		if !slices.Contains(sc.Actions, m.action) || !slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(m.on) }) {
			continue
		}
		if len(sc.Paths) == 0 {
			out = append(out, madeUp+".txt")
		}
		for _, p := range sc.Paths {
			out = append(out, string(witness(p)))
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), most)]
}

// runs are files that say what the pipeline of an effect runs.
func (b *builder) runs(c *context, m may, e *remit.Effect) []string {
	out := []string{".github/workflows/" + madeUp + ".yml"}
	for _, p := range e.Runs {
		if w := string(witness(p)); !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out[:min(len(out), most)]
}

// author is who could have written what is merged.
type author struct {
	of     []NodeID
	pusher remit.EntryIndex // 0: a stranger, whose commits no push of Remit's brought
	text   string
	owner  remit.ID
}

// authors lists for a repository who could have written a change: strangers, and agents by their owners.
func (b *builder) authors(repo string) []author {
	out := []author{{of: []NodeID{words("pull-request", repo)}, text: "wrote the change as a stranger"}}
	for _, p := range b.able("source.push", repo) {
		a := b.s.Agents[p.agent]
		i := slices.IndexFunc(out, func(o author) bool { return o.owner == a.Owner && o.owner != "" })
		if i < 0 {
			out = append(out, author{pusher: p.pusher, owner: a.Owner, text: "wrote the change by an agent of " + string(a.Owner)})
			i = len(out) - 1
		}
		out[i].of = append(out[i].of, NodeID("agent:"+p.agent))
	}
	return out
}

// candidate is an agent that may push to a repository, or review there.
type candidate struct {
	agent  string
	caller remit.Caller
	pusher remit.EntryIndex
}

// able lists the living agents whose entitlements name an action on a repository, each on a task of its own.
func (b *builder) able(action remit.Action, repo string) []candidate {
	if b.who[action] == nil {
		b.who[action] = map[string][]candidate{}
		for _, name := range b.agents {
			b.enable(name, action, b.who[action])
		}
	}
	return b.who[action][repo]
}

// enable puts an agent to the repositories on which its entitlements name an action.
func (b *builder) enable(name string, action remit.Action, who map[string][]candidate) {
	on := map[string]bool{}
	for _, sc := range b.s.Agents[name].Entitlements {
		if !slices.Contains(sc.Actions, action) {
			continue
		}
		for _, p := range sc.Resources {
			for _, repo := range covered("repo", b.repos, p) {
				on[repo] = true
			}
		}
	}
	if len(on) == 0 {
		return
	}
	caller, err := b.x.Run(name, authority.Errand{})
	if err != nil {
		return
	}
	k := candidate{agent: name, caller: caller}
	if action == "source.push" {
		k.pusher = b.x.Push(caller)
	}
	for repo := range on {
		who[repo] = append(who[repo], k)
	}
}

// review is a request that approves of a change.
func (b *builder) review(c *context, on remit.Resource) remit.Request {
	repo := b.s.Repositories[on.Name()]
	return remit.Request{Gateway: gatewayOf, Caller: c.caller, Steps: []remit.Step{{Action: "review.submit", Resource: on}}, Review: remit.ReviewApprove, Order: []byte("{}"),
		Refs: []remit.RefChange{{Ref: "refs/heads/" + repo.DefaultBranch, Op: remit.RefUpdate, Old: madeBase, New: madeCommit, Tree: madeTree, Commits: 1,
			Paths: []remit.PathChange{{Path: madeUp + ".txt", NewMode: 0o100644, New: madeCommit}}}}}
}

// merges asks for a merge of what each author could have written: as it is, after reviews of agents, and after a build of it.
// Who wrote it, who reviews it and what was built is what the way must be held with.
func (b *builder) merges(c *context, m may, repo *authority.Repository, to NodeID, r remit.Request) (any bool) {
	b.refNode(to, repo)
	for _, w := range b.authors(repo.Name) {
		r := r
		r.Refs = slices.Clone(r.Refs)
		r.Refs[0].Pushers, r.Refs[0].Outside = nil, 1
		if w.pusher != 0 {
			r.Refs[0].Pushers, r.Refs[0].Outside = []remit.EntryIndex{w.pusher}, 0
		}
		wrote := Support{N: 1, Of: w.of, By: "source.push", Text: "whoever merges holds an author: somebody who " + w.text}
		for _, way := range b.evidence(repo, r) {
			with := append([]Support{wrote}, way...)
			if a, ok := b.acts(c, m, r, to, with...); ok {
				any = true
				b.follows(to, a)
			}
		}
		b.x.Forget()
	}
	return any
}

// evidence supposes what could stand behind a merge, the least first, and yields for each what it must be held with. After
// what nobody is asked for, no more is tried.
func (b *builder) evidence(repo *authority.Repository, r remit.Request) func(func(int, []Support) bool) {
	return func(yield func(int, []Support) bool) {
		n := 0
		give := func(with ...Support) bool { n++; return yield(n, with) }
		plain := b.ask(r)
		if plain.Verdict != remit.Deny && !give() || plain.Verdict == remit.Allow {
			return
		}
		better := func(a authority.Answer) bool {
			return a.Verdict == remit.Allow || a.Verdict == remit.Hold && (plain.Verdict == remit.Deny || len(a.Stood) > 0)
		}
		built := func() *Support {
			if len(repo.Artifacts) == 0 {
				return nil
			}
			s := Support{N: 1, Text: "what it merges was built into an artifact"}
			for _, p := range repo.Artifacts {
				s.Of = append(s.Of, NodeID(p))
			}
			b.x.Publish(remit.Artifact{Resource: witness(repo.Artifacts[0]), Digest: madeDigest}, remit.Input{Resource: r.Steps[0].Resource, ID: r.Refs[0].New})
			return &s
		}
		if s := built(); s != nil {
			if a := b.ask(r); better(a) {
				if !give(*s) || a.Verdict == remit.Allow {
					return
				}
				plain = a
			}
			b.x.Forget()
		}
		for _, with := range []bool{false, true} {
			var more []Support
			if with {
				s := built()
				if s == nil {
					return
				}
				more = append(more, *s)
			}
			reviews := Support{By: "review.submit", Text: "reviewers of different owners approve of it"}
			var owners []remit.ID
			for _, k := range b.reviewers(repo.Name, r) {
				reviews.Of = append(reviews.Of, NodeID("agent:"+k.agent))
			}
			for _, k := range b.reviewers(repo.Name, r) {
				o := b.s.Agents[k.agent].Owner
				if slices.Contains(owners, o) {
					continue
				}
				owners = append(owners, o)
				b.x.Review(k.caller, r)
				if a := b.ask(r); better(a) {
					reviews.N = len(owners)
					if !give(append(more, reviews)...) || a.Verdict == remit.Allow {
						return
					}
					plain = a // with more of them, perhaps nobody
				}
			}
			b.x.Forget()
		}
	}
}

// reviewers are the agents who may approve of what a request merges.
func (b *builder) reviewers(repo string, merge remit.Request) (out []candidate) {
	for _, k := range b.able("review.submit", repo) {
		r := merge
		r.Caller, r.Review = k.caller, remit.ReviewApprove
		r.Steps = []remit.Step{{Action: "review.submit", Resource: merge.Steps[0].Resource}}
		if b.ask(r).Verdict != remit.Deny {
			out = append(out, k)
		}
	}
	return out
}

// deploys asks for a deployment of each artifact that an environment accepts, with the evidence that it asks for.
func (b *builder) deploys(c *context, m may, caller remit.Caller, through *Edge) {
	env := b.s.Environments[m.on.Name()]
	if m.action == "deploy.rollback" {
		b.rollback(c, m, caller, through)
		return
	}
	for _, p := range env.Artifacts {
		for _, art := range b.accepted(p) {
			d := remit.Deploy{Environment: env.Name, Artifacts: []remit.Artifact{{Resource: art.on, Digest: madeDigest}}}
			with := []Support{{N: 1, Of: []NodeID{art.node}, Text: "what is deployed is an artifact that they made"}}
			b.x.Publish(d.Artifacts[0], art.from...)
			for _, in := range art.from {
				b.x.Merge(in)
			}
			for _, ev := range authority.EvidenceOf(env.EnvironmentDeclared) {
				if first, ok := strings.CutPrefix(ev, remit.EvidenceDeployed); ok && first != env.Name {
					b.x.Release(remit.Deploy{Environment: first, Artifacts: d.Artifacts})
					with = append(with, Support{N: 1, Of: []NodeID{NodeID("environment:" + first)}, Text: "it was deployed to " + first + " before"})
				}
			}
			b.deploy(c, m, caller, d, through, with...)
			b.x.Forget()
		}
	}
}

func (b *builder) rollback(c *context, m may, caller remit.Caller, through *Edge) {
	env := b.s.Environments[m.on.Name()]
	if len(env.Artifacts) == 0 {
		return
	}
	old := []remit.Artifact{{Resource: witness(env.Artifacts[0]), Digest: madeDigest}}
	d := remit.Deploy{Environment: env.Name, Artifacts: old}
	first := b.x.Release(d)
	last := b.x.Release(remit.Deploy{Environment: env.Name, From: first, Artifacts: []remit.Artifact{{Resource: old[0].Resource, Digest: strings.Replace(madeDigest, "5", "6", 1)}}})
	d.From, d.Rollback = last, true
	b.deploy(c, m, caller, d, through)
	b.x.Forget()
}

func (b *builder) deploy(c *context, m may, caller remit.Caller, d remit.Deploy, through *Edge, with ...Support) {
	if through != nil { // asked for as a task that is nothing but this
		child, err := b.x.Run(strings.TrimPrefix(string(through.On), "task:"), authority.Errand{Parent: c.caller, Deploy: d, Inputs: inputs(d)})
		if err != nil {
			return
		}
		defer b.x.End(child)
		sc := []remit.Scope{{Actions: []remit.Action{m.action}, Resources: []remit.Pattern{remit.Pattern(m.on)}}}
		if b.ask(b.child(c, remit.Child{Agent: child.Agent, Intent: remit.Hash([]byte(madeUp)), Scope: sc, Inputs: inputs(d), Deploy: &d})).Verdict != remit.Allow {
			return
		}
		caller = remit.Caller{Agent: child.Agent, Task: child.Task, Executor: authority.ExecutorOf(remit.ZoneProduction)}
	}
	st := d.Step()
	st.Args = authority.DeployDigest(d)
	a := b.ask(remit.Request{Gateway: gatewayOf, Caller: caller, Deploy: &d, Steps: []remit.Step{st}})
	if a.Verdict == remit.Deny {
		return
	}
	e := b.edge(a, Edge{To: m.node, How: HowActs, Action: m.action, On: m.on, With: with, Crosses: "into production"})
	e.Why = b.sentence(c, m, e, a)
	if through != nil {
		e.How = HowRequests
		e.Why = fmt.Sprintf("agent %s may ask agent %s for %s on %s%s", c.agent, caller.Agent, m.action, m.on, waits(c, a))
	}
	c.ways = append(c.ways, way{Edge: e})
}

func inputs(d remit.Deploy) (out []remit.Input) {
	for _, a := range d.Artifacts {
		out = append(out, remit.Input{Resource: a.Resource, ID: a.Digest})
	}
	return out
}

// releases asks for a deployment as a task of another agent that is nothing but that.
func (b *builder) releases(c *context, agent string, m may) {
	b.deploys(c, m, remit.Caller{}, &Edge{On: remit.Resource("task:" + agent)})
}

// accepted is an artifact that an environment accepts, with a commit of who declares that it is built of it.
type accepted struct {
	on   remit.Resource
	node NodeID
	from []remit.Input
}

func (b *builder) accepted(p remit.Pattern) (out []accepted) {
	for _, name := range b.building {
		for _, q := range b.s.Repositories[name].Artifacts {
			if both, ok := p.Intersect(q); ok {
				out = append(out, accepted{witness(both), NodeID(both), []remit.Input{{Resource: remit.Resource("repo:" + name), ID: madeCommit}}})
			}
		}
	}
	return append(out, accepted{on: witness(p), node: NodeID(p)})
}
